package seed

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/wire"
)

// spare is what must stay free on the seed beside what it keeps.
const spare = 64 << 20

// Server serves transfers to hosts that have the key, while they still arrive.
// Close ends it, and with it everything that it kept: its files have no names.
type Server struct {
	key      []byte
	port     int
	listener *os.File
	accepts  sync.WaitGroup
	serves   sync.WaitGroup

	mu     sync.Mutex
	files  map[[sha256.Size]byte]*File
	conns  map[*os.File]bool
	closed bool
}

// Listen begins to serve on the port, or on a free one if that is 0.
func Listen(key []byte, port int) (*Server, error) {
	if len(key) != KeySize {
		return nil, wire.NewError(wire.KindProtocol, errors.New("the seed's key has not the right length"), "")
	}
	l, at, err := listen(port)
	if err != nil {
		return nil, wire.NewError(wire.KindHost, err, "another program may have that port: name another one behind the seed, or none")
	}
	s := &Server{key: key, port: at, listener: l, files: map[[sha256.Size]byte]*File{}, conns: map[*os.File]bool{}}
	s.accepts.Go(s.accept)
	return s, nil
}

// Where is what hosts have to try.
func (s *Server) Where() wire.Serving {
	return wire.Serving{Addresses: addresses(), Port: s.port}
}

// Close ends every connection and gives the disk space back.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	err := s.listener.Close()
	for c := range s.conns {
		c.Close()
	}
	for _, f := range s.files {
		f.end()
	}
	s.mu.Unlock()
	s.accepts.Wait()
	s.serves.Wait()
	for _, f := range s.files {
		err = errors.Join(err, f.file.Close())
	}
	return err
}

// Add makes room for a transfer in the first of the directories that has it.
// Its bytes are then appended to the File.
func (s *Server) Add(t wire.Transfer, dirs []string) (*File, error) {
	sum, err := parseSum(t.SHA256)
	if err == nil && t.Size < 1 {
		err = errors.New("transfer is empty")
	}
	if err != nil {
		return nil, wire.NewError(wire.KindProtocol, err, "")
	}
	file, err := nameless(dirs, t.Size)
	if err != nil {
		return nil, err
	}
	f := &File{file: file, size: t.Size, grown: make(chan struct{}), ended: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.files[sum] != nil {
		file.Close()
		return nil, wire.NewError(wire.KindProtocol, errors.New("the seed has this transfer, or has ended"), "")
	}
	s.files[sum] = f
	return f, nil
}

// nameless makes a file that goes with this process, however that ends.
func nameless(dirs []string, size int64) (*os.File, error) {
	var why error
	for _, dir := range dirs {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			continue
		}
		if free := int64(st.Bavail) * int64(st.Bsize); free < size+spare {
			why = errors.Join(why, fmt.Errorf("%s has %d MB free, and %d MB are needed", dir, free>>20, (size+spare)>>20))
			continue
		}
		f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
		if err != nil { // a filesystem that can't
			if f, err = os.OpenFile(filepath.Join(dir, fmt.Sprintf(".gofleet-seed-%x", newNonce())), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
				why = errors.Join(why, err)
				continue
			}
			err = os.Remove(f.Name())
		}
		if err != nil {
			f.Close()
			why = errors.Join(why, err)
			continue
		}
		return f, nil
	}
	return nil, wire.NewError(wire.KindNoSpace, fmt.Errorf("no place for what the seed has to keep: %w", why), "")
}

// File is a transfer that arrives on the seed.
type File struct {
	file *os.File
	size int64

	mu    sync.Mutex
	have  int64
	grown chan struct{} // closed and replaced when have grows
	ended chan struct{} // closed when no more will come
	over  bool
}

// Have is for SFTP, over which no seed gets anything.
func (f *File) Have(int64) {}

// Append adds the next n bytes, taken from r. An error ends the file: hosts
// that wait for the rest are let go.
func (f *File) Append(r io.Reader, n int64) error {
	at, _, _ := f.now()
	var got int64
	err := errors.New("more bytes came than the transfer has")
	if n <= f.size-at {
		got, err = io.CopyN(io.NewOffsetWriter(f.file, at), r, n)
	}
	f.mu.Lock()
	f.have += got
	close(f.grown)
	f.grown = make(chan struct{})
	f.mu.Unlock()
	if err != nil {
		f.end()
	}
	return err
}

func (f *File) now() (have int64, grown, ended <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have, f.grown, f.ended
}

func (f *File) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		f.over = true
		close(f.ended)
	}
}

// accept takes connections until the listener is closed.
func (s *Server) accept() {
	for {
		c, err := accept(s.listener)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil { // one that ended too soon, or no file left: others may come
			time.Sleep(50 * time.Millisecond)
			if s.isClosed() {
				return
			}
			continue
		}
		if !s.keep(c) {
			c.Close()
			continue
		}
		s.serves.Go(func() {
			defer s.drop(c)
			s.serve(c)
		})
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) keep(c *os.File) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxConnections {
		return false
	}
	s.conns[c] = true
	return true
}

func (s *Server) drop(c *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.Close()
}

// serve answers one host. Whatever is wrong ends the connection: the host then
// turns to the controller.
func (s *Server) serve(c *os.File) {
	nonce := newNonce()
	c.SetDeadline(time.Now().Add(handshakeTime))
	if _, err := c.Write(nonce[:]); err != nil {
		return
	}
	var said [requestSize]byte
	if _, err := io.ReadFull(c, said[:]); err != nil {
		return
	}
	var r request
	if !r.decode(said[:], s.key, nonce[:]) {
		return
	}
	s.mu.Lock()
	f := s.files[r.sum]
	s.mu.Unlock()
	if f == nil || r.offset < 0 || r.offset > f.size {
		return
	}
	keys, err := stream(s.key, nonce[:], r.nonce[:])
	if err != nil {
		return
	}
	buf := make([]byte, 4+maxFrame)
	for at := r.offset; at < f.size; {
		have, grown, ended := f.now()
		n := int(min(have-at, maxFrame))
		if n <= 0 {
			select {
			case <-grown:
				continue
			case <-ended:
				return
			case <-time.After(heartbeat):
				n = 0
			}
		}
		body := buf[4 : 4+n]
		if _, err := f.file.ReadAt(body, at); err != nil {
			return
		}
		binary.BigEndian.PutUint32(buf, uint32(n))
		keys.XORKeyStream(body, body)
		c.SetDeadline(time.Now().Add(writeTime))
		if _, err := c.Write(buf[:4+n]); err != nil {
			return
		}
		at += int64(n)
	}
}
