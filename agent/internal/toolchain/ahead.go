package toolchain

import (
	"errors"
	"io"
	"sync"
)

// ahead reads a stream in a goroutine of its own, a bounded way ahead of who
// reads it, so that decompression has a core to itself.
type ahead struct {
	full chan block
	free chan []byte
	stop chan struct{} // closed to end the goroutine
	done chan struct{} // closed when it has ended
	once sync.Once

	current block
	at      int // what of current was read
}

// block is a filled buffer; err came after its n bytes.
type block struct {
	buf []byte
	n   int
	err error
}

// readAhead opens the stream in its goroutine, since opening may block too.
func readAhead(open func() (io.ReadCloser, error)) *ahead {
	a := &ahead{
		full: make(chan block, aheadBuffers),
		free: make(chan []byte, aheadBuffers),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	for range aheadBuffers {
		a.free <- make([]byte, aheadSize)
	}
	go a.run(open)
	return a
}

// run fills buffers. It never blocks in sending: full has room for all of them.
func (a *ahead) run(open func() (io.ReadCloser, error)) {
	defer close(a.done)
	r, err := open()
	if err != nil {
		a.full <- block{err: err}
		return
	}
	defer r.Close()
	for {
		var b block
		select {
		case b.buf = <-a.free:
		case <-a.stop:
			return
		}
		for b.n < len(b.buf) && b.err == nil {
			var n int
			n, b.err = r.Read(b.buf[b.n:])
			b.n += n
		}
		a.full <- b
		if b.err != nil {
			return
		}
	}
}

// Read must not be called after Close.
func (a *ahead) Read(p []byte) (int, error) {
	b, err := a.Next(len(p))
	return copy(p, b), err
}

// Next gives at most n of the next bytes where they lie: they are good until
// the next call of Next or Read. It must not be called after Close.
func (a *ahead) Next(n int) ([]byte, error) {
	for a.at == a.current.n {
		if a.current.err != nil {
			return nil, a.current.err
		}
		if a.current.buf != nil {
			a.free <- a.current.buf // there is room: it came from there
		}
		select {
		case a.current = <-a.full:
		case <-a.stop:
			return nil, errors.New("read after close")
		}
		a.at = 0
	}
	b := a.current.buf[a.at:min(a.at+n, a.current.n)]
	a.at += len(b)
	return b, nil
}

// Close ends the goroutine and waits for it: what it reads from must not block
// for ever.
func (a *ahead) Close() error {
	a.once.Do(func() { close(a.stop) })
	<-a.done
	return nil
}
