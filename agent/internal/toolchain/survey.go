package toolchain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// Survey is what one pass over an archive tells of it. The collection makes it
// on the machine of ansible-playbook, where no gofleet has to be.
type Survey struct {
	SHA256    string    `json:"sha256"`
	Size      int64     `json:"size"`
	ChunkSize int64     `json:"chunk_size"`
	Chunks    []string  `json:"chunks"`
	Tree      wire.Tree `json:"tree,omitzero"`      // zero if the content is not what a Go archive has
	Manifest  []byte    `json:"manifest,omitempty"` // the text behind Tree.SHA256
}

// SurveyArchive reads a gzip archive. Its sums are told whatever is in it, so
// that a wrong one can be told first; the error is about reading the file.
func SurveyArchive(ctx context.Context, path string, chunkSize int64) (*Survey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the archive: %w", err)
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()

	sums := &chunkSums{whole: sha256.New(), chunk: sha256.New(), chunkSize: chunkSize}
	file := io.TeeReader(f, sums)
	stream := readAhead(func() (io.ReadCloser, error) { return tree.Decompress(file, wire.Gzip) })
	m, broken := tree.Read(stream, tree.DefaultLimits(), nil)
	stream.Close()
	// What the reader left, when it gave up early.
	if _, err := io.Copy(io.Discard, file); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	s := &Survey{Size: sums.size, ChunkSize: chunkSize}
	s.SHA256, s.Chunks = sums.end()
	if broken == nil {
		s.Manifest = m.Encode()
		s.Tree.SHA256 = m.Sum()
		s.Tree.Files, s.Tree.Dirs, s.Tree.Bytes = m.Count()
	}
	return s, nil
}

// chunkSums sums what is written to it, as a whole and chunk by chunk.
type chunkSums struct {
	whole, chunk    hash.Hash
	chunks          []string
	size, chunkSize int64
}

func (s *chunkSums) Write(p []byte) (int, error) {
	s.whole.Write(p)
	for rest := p; len(rest) > 0; {
		n := min(int64(len(rest)), s.chunkSize-s.size%s.chunkSize)
		s.chunk.Write(rest[:n])
		rest = rest[n:]
		if s.size += n; s.size%s.chunkSize == 0 {
			s.endChunk()
		}
	}
	return len(p), nil
}

func (s *chunkSums) endChunk() {
	s.chunks = append(s.chunks, hex.EncodeToString(s.chunk.Sum(nil)))
	s.chunk.Reset()
}

func (s *chunkSums) end() (whole string, chunks []string) {
	if s.size%s.chunkSize != 0 {
		s.endChunk()
	}
	return hex.EncodeToString(s.whole.Sum(nil)), s.chunks
}
