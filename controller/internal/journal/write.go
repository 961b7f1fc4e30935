package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Writer appends to the events of one run, and holds the lock that tells that
// its process is alive. A nil Writer keeps nothing, and all its methods
// succeed. It may be used from many goroutines.
//
// Syncs are shared: while one is under way, those who want another wait
// together for the next, so that many hosts at once cost few.
type Writer struct {
	file  *os.File
	now   func() time.Time
	ended chan struct{} // the writing goroutine

	mu      sync.Mutex
	work    *sync.Cond // for the writing goroutine: something was said or is wanted
	settled *sync.Cond // for those who wait: more is durable, or nothing will be
	hosts   *hosts     // as they stand after what was said
	buf     []byte     // said and not yet written
	said    Mark
	durable Mark
	wanted  Mark // somebody waits for everything up to here, or will
	soon    bool // everything said will be wanted in a moment
	closing bool
	closed  bool  // the writing goroutine has ended
	err     error // the first; nothing is written after it
	syncs   int   // so far, for tests
}

// Mark is a place in the events: everything said up to it.
type Mark uint64

// Create begins the journal of a run, whose ID must be new.
func (s Store) Create(run Run, now func() time.Time) (*Writer, error) {
	run.Schema = Schema
	if _, err := startOf(run.ID); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("begin the journal: %w", err)
	}
	if err := os.Mkdir(s.path(run.ID), 0o700); err != nil {
		return nil, fmt.Errorf("begin the journal: %w", err)
	}
	w, err := s.create(run, now)
	if err != nil {
		os.RemoveAll(s.path(run.ID))
		return nil, fmt.Errorf("begin the journal: %w", err)
	}
	return w, nil
}

func (s Store) create(run Run, now func() time.Time) (*Writer, error) {
	text, err := json.MarshalIndent(run, "", " ")
	if err != nil {
		return nil, err
	}
	if err := writeDurable(s.path(run.ID, runFile), append(text, '\n')); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.path(run.ID, eventsFile), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	err = lockNew(f)
	if err == nil {
		err = errors.Join(syncDir(s.path(run.ID)), syncDir(s.Dir))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return newWriter(f, newHosts(&run), now), nil
}

// Resume goes on with the journal of a run whose process is gone. What it knows
// of the hosts is in the Record, as it stood under the lock.
func (s Store) Resume(id string, now func() time.Time) (*Writer, *Record, error) {
	f, err := os.OpenFile(s.path(id, eventsFile), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("resume run %s: %w", id, err)
	}
	fail := func(err error) (*Writer, *Record, error) {
		f.Close()
		return nil, nil, fmt.Errorf("resume run %s: %w", id, err)
	}
	if err := lock(f); err != nil {
		return fail(err)
	}
	if err := cutTorn(f); err != nil {
		return fail(err)
	}
	record, err := s.load(id)
	if err != nil {
		return fail(err)
	}
	return newWriter(f, record.hosts, now), record, nil
}

func newWriter(f *os.File, h *hosts, now func() time.Time) *Writer {
	w := &Writer{file: f, now: now, hosts: h, ended: make(chan struct{})}
	w.work, w.settled = sync.NewCond(&w.mu), sync.NewCond(&w.mu)
	go w.write()
	return w
}

// Say appends an event; its time is now. It does not wait.
func (w *Writer) Say(e Event) Mark {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e.Time = w.now().UTC().Round(time.Millisecond)
	line, err := json.Marshal(e)
	if err != nil {
		w.fail(fmt.Errorf("encode event: %w", err)) // cannot be, but for times without a form
		return w.said
	}
	w.hosts.apply(&e)
	w.buf = append(append(w.buf, line...), '\n')
	w.said++
	w.work.Signal()
	return w.said
}

// Want has everything up to m made durable soon, without waiting for it.
func (w *Writer) Want(m Mark) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if m > w.wanted {
		w.wanted = m
		w.work.Signal()
	}
}

// moment is how long what is to be durable soon may wait for more.
const moment = 200 * time.Millisecond

// WantSoon has everything that was said made durable in a moment, together with
// what is said until then.
func (w *Writer) WantSoon() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.soon {
		return
	}
	w.soon = true
	time.AfterFunc(moment, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.soon, w.wanted = false, w.said
		w.work.Signal()
	})
}

// Wait returns when everything up to m is durable, or can't be made so, or ctx
// ends.
func (w *Writer) Wait(ctx context.Context, m Mark) error {
	if w == nil {
		return nil
	}
	defer context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.settled.Broadcast()
	})()
	w.Want(m)
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.durable < m {
		switch {
		case w.err != nil:
			return w.err
		case w.closed:
			return errors.New("write the journal: it is closed")
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		w.settled.Wait()
	}
	return nil
}

// Sync returns when everything that was said is durable.
func (w *Writer) Sync(ctx context.Context) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	m := w.said
	w.mu.Unlock()
	return w.Wait(ctx, m)
}

// End says that the process ends in order, with how all hosts of the run
// stand, makes everything durable and lets the lock go.
func (w *Writer) End(ended string, exit int) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	summary := w.hosts.summary(true, false)
	w.mu.Unlock()
	w.Say(Event{Kind: KindEnd, Ended: ended, Exit: &exit, Summary: summary})
	return w.Close()
}

// Close makes everything durable and lets the lock go, without an end: the run
// may be gone on with.
func (w *Writer) Close() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	if w.closing {
		w.mu.Unlock()
		return nil
	}
	w.closing, w.wanted = true, w.said
	w.work.Signal()
	w.mu.Unlock()
	<-w.ended
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.err, w.file.Close())
}

// write is the one goroutine that writes: whatever was said since the last
// time in one write, and one sync for all who want it.
func (w *Writer) write() {
	defer close(w.ended)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() {
		w.closed = true
		w.settled.Broadcast()
	}()
	var spare []byte
	for {
		for len(w.buf) == 0 && w.wanted <= w.durable && !w.closing {
			w.work.Wait()
		}
		if w.err != nil || len(w.buf) == 0 && w.wanted <= w.durable {
			return // nothing can be written any more, or nothing is left
		}
		buf, upto, sync := w.buf, w.said, w.wanted > w.durable
		w.buf = spare[:0]
		w.mu.Unlock()
		_, err := w.file.Write(buf)
		if err == nil && sync {
			err = w.file.Sync()
		}
		w.mu.Lock()
		if spare = buf; cap(spare) > 1<<20 {
			spare = nil
		}
		if err != nil {
			w.fail(fmt.Errorf("write the journal: %w", err))
			return
		}
		if sync {
			w.durable = upto
			w.syncs++
			w.settled.Broadcast()
		}
	}
}

// fail notes the first error. w.mu is held.
func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.work.Signal()
	w.settled.Broadcast()
}

// cutTorn takes away a last line that was not written whole.
func cutTorn(f *os.File) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	const step = 64 << 10
	buf := make([]byte, step)
	for at := end; at > 0; {
		n := min(at, step)
		at -= n
		if _, err := f.ReadAt(buf[:n], at); err != nil {
			return err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			if keep := at + int64(i) + 1; keep < end {
				return f.Truncate(keep)
			}
			return nil
		}
	}
	return f.Truncate(0)
}

// writeDurable writes a file that is there whole or not at all.
func writeDurable(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
