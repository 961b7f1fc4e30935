// Command sftp is an SFTP server that ends when a packet is longer than the
// 34,000 bytes that every server must take, as some do.
package main

import (
	"encoding/binary"
	"io"
	"os"

	"github.com/pkg/sftp"
)

const limit = 34000

type pipe struct {
	io.Reader
	io.WriteCloser
}

// strict passes packets on and ends at one that is too long.
func strict(w *io.PipeWriter) {
	var head [4]byte
	for {
		if _, err := io.ReadFull(os.Stdin, head[:]); err != nil {
			w.CloseWithError(err)
			return
		}
		n := binary.BigEndian.Uint32(head[:])
		if n > limit {
			os.Exit(1)
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(os.Stdin, body); err != nil {
			w.CloseWithError(err)
			return
		}
		w.Write(append(head[:], body...))
	}
}

func main() {
	r, w := io.Pipe()
	go strict(w)
	s, err := sftp.NewServer(pipe{r, os.Stdout})
	if err != nil {
		os.Exit(2)
	}
	s.Serve()
}
