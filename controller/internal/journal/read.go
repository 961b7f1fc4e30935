package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// maxLine bounds one event; longer lines are not ours.
const maxLine = 1 << 20

// Record is what the journal knows of a run.
type Record struct {
	Run     Run
	Hosts   []Host  // of the scope, in its order
	Notes   []Event // what is about no single host, in order; seeds are noted too
	Damaged int     // lines that could not be read; more is not known of their hosts
	End     *Event  // nil: the process goes on, or did not survive
	Alive   bool    // its process goes on

	hosts *hosts
}

// Last is the number of the last batch that was begun, 0 if none was.
func (r *Record) Last() int {
	last := 0
	for i := range r.Notes {
		last = max(last, r.Notes[i].Batch)
	}
	return last
}

// State is how the run stands, in one word: running, done, stopped,
// interrupted or, where its process did not survive, broken.
func (r *Record) State() string { return state(r.End, r.Alive) }

func state(end *Event, alive bool) string {
	switch {
	case alive:
		return "running"
	case end != nil:
		return end.Ended
	}
	return "broken"
}

// Load reads a run, which may be going on.
func (s Store) Load(id string) (*Record, error) {
	alive := s.alive(id)
	r, err := s.load(id)
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	r.Alive = alive
	return r, nil
}

func (s Store) load(id string) (*Record, error) {
	r := &Record{}
	if err := s.readRun(id, &r.Run); err != nil {
		return nil, err
	}
	r.hosts = newHosts(&r.Run)
	err := s.events(id, func(e *Event, err error) {
		switch {
		case err != nil:
			r.Damaged++
			return
		case e.Kind == KindEnd:
			r.End = e
		default:
			r.End = nil // another process went on
		}
		r.hosts.apply(e)
		if e.Host == "" || e.Kind == KindSeed {
			r.Notes = append(r.Notes, *e)
		}
	})
	r.Hosts = r.hosts.list
	return r, err
}

func (s Store) readRun(id string, run *Run) error {
	text, err := os.ReadFile(s.path(id, runFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, run); err != nil {
		return fmt.Errorf("%s: %w", s.path(id, runFile), err)
	}
	if run.Schema != Schema {
		return fmt.Errorf("%s: written by another gofleet: its schema is %q, not %q", s.path(id, runFile), run.Schema, Schema)
	}
	return nil
}

// events gives every whole line. A last line without an end is one that was
// not written whole: it was never said.
func (s Store) events(id string, each func(*Event, error)) error {
	f, err := os.Open(s.path(id, eventsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the process ended before its first word
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if long = append(long, part...); len(long) > maxLine {
				return fmt.Errorf("%s: a line is longer than an event can be", f.Name())
			}
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		line := part
		if len(long) > 0 {
			line = append(long, part...)
		}
		e := &Event{}
		each(e, json.Unmarshal(line, e))
		long = long[:0]
	}
}

// alive reports whether the process of a run has its lock.
func (s Store) alive(id string) bool {
	f, err := os.Open(s.path(id, eventsFile))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(probe(f), ErrRunning)
}

// IDs are those of all runs, the newest first.
func (s Store) IDs() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && idForm.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		if a[:secondLen] != b[:secondLen] {
			return strings.Compare(b, a)
		}
		return s.written(b).Compare(s.written(a)) // an id tells no more than the second
	})
	return ids, nil
}

// secondLen is how much of an id is the second that its run began in.
const secondLen = len("20060102T150405Z")

// written is when the head of a run was.
func (s Store) written(id string) time.Time {
	info, err := os.Stat(s.path(id, runFile))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// NotFoundError is a name that stands for no run, or for several.
type NotFoundError struct {
	Name   string
	Others []string // that it could be
	Dir    string
}

func (e *NotFoundError) Error() string {
	if len(e.Others) > 1 {
		more := ""
		if len(e.Others) > 2 {
			more = " and others"
		}
		return fmt.Sprintf("%q could be %d runs: %s%s", e.Name, len(e.Others), strings.Join(e.Others[:2], ", "), more)
	}
	return fmt.Sprintf("there is no run %q in %s", e.Name, e.Dir)
}

// Find gives the id that a name stands for: an id, the beginning of just one,
// or "last".
func (s Store) Find(name string) (string, error) {
	ids, err := s.IDs()
	if err != nil {
		return "", err
	}
	if name == "last" && len(ids) > 0 {
		return ids[0], nil
	}
	var fit []string
	for _, id := range ids {
		if id == name {
			return id, nil
		}
		if name != "" && strings.HasPrefix(id, name) {
			fit = append(fit, id)
		}
	}
	if len(fit) != 1 {
		return "", &NotFoundError{Name: name, Others: fit, Dir: s.Dir}
	}
	return fit[0], nil
}

// Glance is a run in one line.
type Glance struct {
	Run     Run
	State   string
	Ended   time.Time // zero while there is no end
	Exit    int
	Summary map[wire.Status]int
}

// Glance reads of a run only what a list shows.
func (s Store) Glance(id string) (*Glance, error) {
	g := &Glance{}
	if err := s.readRun(id, &g.Run); err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	alive := s.alive(id)
	end := s.lastEvent(id)
	if end != nil && end.Kind != KindEnd {
		end = nil
	}
	g.State = state(end, alive)
	if end != nil {
		g.Summary, g.Ended = end.Summary, end.Time
		if end.Exit != nil {
			g.Exit = *end.Exit
		}
		return g, nil
	}
	r, err := s.Load(id)
	if err != nil {
		return nil, err
	}
	g.Summary = r.Summary()
	return g, nil
}

// lastEvent is the last whole line, if it can be read.
func (s Store) lastEvent(id string) *Event {
	f, err := os.Open(s.path(id, eventsFile))
	if err != nil {
		return nil
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil
	}
	tail := make([]byte, min(size, 64<<10))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	tail = tail[:bytes.LastIndexByte(tail, '\n')+1]
	tail = bytes.TrimSuffix(tail, []byte("\n"))
	var e Event
	if json.Unmarshal(tail[bytes.LastIndexByte(tail, '\n')+1:], &e) != nil {
		return nil
	}
	return &e
}

// Summary counts how all hosts of the run stand.
func (r *Record) Summary() map[wire.Status]int { return r.hosts.summary(r.End != nil, r.Alive) }

// Standing is how a host of the run stands: its status, or Pending, Running or
// Unknown.
func (r *Record) Standing(h *Host) wire.Status { return r.hosts.standing(h, r.End != nil, r.Alive) }
