package release

import "io"

// ahead reads from its source in a goroutine of its own, some blocks ahead of
// who reads from it, so that two steps of a pipeline run on two cores.
type ahead struct {
	blocks chan block
	free   chan []byte
	stop   chan struct{}
	ended  chan struct{}
	rest   []byte // of the current block
	whole  []byte
	err    error
}

type block struct {
	data []byte
	err  error
}

const (
	blockSize   = 256 << 10
	blocksAhead = 8
)

// readAhead starts reading r. Close must be called; it waits for the goroutine.
func readAhead(r io.Reader) *ahead {
	a := &ahead{
		blocks: make(chan block, blocksAhead),
		free:   make(chan []byte, blocksAhead+2),
		stop:   make(chan struct{}),
		ended:  make(chan struct{}),
	}
	for range cap(a.free) {
		a.free <- make([]byte, blockSize)
	}
	go a.run(r)
	return a
}

func (a *ahead) run(r io.Reader) {
	defer close(a.ended)
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.stop:
			return
		}
		n, err := io.ReadFull(r, buf[:blockSize])
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		select {
		case a.blocks <- block{buf[:n], err}:
		case <-a.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.whole != nil {
			a.free <- a.whole
		}
		b := <-a.blocks
		a.rest, a.whole, a.err = b.data, b.data[:cap(b.data)], b.err
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close ends the reading. The source may be used again when it has returned.
func (a *ahead) Close() error {
	close(a.stop)
	<-a.ended
	return nil
}
