package seed

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// Fetch gets the transfer from its offset on, which is where a chunk begins,
// from the seed that t.From describes. Each chunk goes to take once its sum is
// right. The error says why the rest did not come from there.
func Fetch(ctx context.Context, t wire.Transfer, offset int64, take func([]byte) error) error {
	sum, err := parseSum(t.SHA256)
	switch {
	case err != nil:
		return err
	case t.ChunkSize < 1 || t.ChunkSize > maxChunk || offset%t.ChunkSize != 0:
		return errors.New("the transfer's chunks are not for a seed")
	case len(t.From.Key) != KeySize:
		return errors.New("its key has not the right length")
	}
	from, err := greet(ctx, t.From, request{nonce: newNonce(), sum: sum, offset: offset})
	if err != nil {
		return err
	}
	defer from.conn.Close()
	defer context.AfterFunc(ctx, func() { from.conn.Close() })()
	buf := make([]byte, min(t.ChunkSize, t.Size-offset))
	for at := offset; at < t.Size; {
		chunk := buf[:min(t.ChunkSize, t.Size-at)]
		if _, err := io.ReadFull(from, chunk); err != nil {
			return err
		}
		got := sha256.Sum256(chunk)
		if hex.EncodeToString(got[:]) != t.Chunks[at/t.ChunkSize] {
			return errors.New("it sent what the archive does not have")
		}
		if err := take(chunk); err != nil {
			return err
		}
		at += int64(len(chunk))
	}
	return nil
}

// greet finds the seed at one of its addresses and sends the request.
func greet(ctx context.Context, from *wire.Source, r request) (*frames, error) {
	var why error
	for _, ip := range from.Addresses {
		c, err := connect(ctx, ip, from.Port)
		if err == nil {
			f := &frames{conn: c}
			if err = f.ask(from.Key, r); err == nil {
				return f, nil
			}
			c.Close()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		why = err
	}
	return nil, fmt.Errorf("it cannot be reached on port %d: %w", from.Port, why)
}

// frames reads the bytes of a connection's frames.
type frames struct {
	conn *os.File
	keys cipher.Stream
	left int // of the current frame
}

// ask sends the request and waits for the first frame: what else may listen at
// that address gives none.
func (f *frames) ask(key []byte, r request) (err error) {
	var nonce [nonceSize]byte
	f.conn.SetDeadline(time.Now().Add(handshakeTime))
	if _, err = io.ReadFull(f.conn, nonce[:]); err != nil {
		return lost(err)
	}
	if _, err = f.conn.Write(r.encode(key, nonce[:])); err != nil {
		return err
	}
	if f.keys, err = stream(key, nonce[:], r.nonce[:]); err != nil {
		return err
	}
	f.left, err = f.head()
	return err
}

func (f *frames) Read(p []byte) (n int, err error) {
	for f.left == 0 {
		f.conn.SetDeadline(time.Now().Add(patience))
		if f.left, err = f.head(); err != nil {
			return 0, err
		}
	}
	f.conn.SetDeadline(time.Now().Add(patience))
	n, err = f.conn.Read(p[:min(len(p), f.left)])
	f.keys.XORKeyStream(p[:n], p[:n])
	f.left -= n
	return n, lost(err)
}

// head reads the length of the next frame; 0 is a sign of life.
func (f *frames) head() (int, error) {
	var head [4]byte
	if _, err := io.ReadFull(f.conn, head[:]); err != nil {
		return 0, lost(err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return 0, errors.New("it does not speak as a seed does")
	}
	return int(n), nil
}

// lost says what the end of a connection means.
func lost(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ended the connection")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("nothing came from it for too long")
	}
	return err
}
