package release

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
)

// chunkSize is how much of what travels has a sha256 of its own: what a broken
// upload loses at most, and what the host reads again to resume.
const chunkSize = 4 << 20

// sums takes the sha256 of what is written to it, of the whole and of every
// chunk.
type sums struct {
	whole, chunk hash.Hash
	chunks       []string
	size         int64
}

func newSums() *sums { return &sums{whole: sha256.New(), chunk: sha256.New()} }

func (s *sums) Write(p []byte) (int, error) {
	s.whole.Write(p)
	for rest := p; len(rest) > 0; {
		n := min(int64(len(rest)), chunkSize-s.size%chunkSize)
		s.chunk.Write(rest[:n])
		rest = rest[n:]
		if s.size += n; s.size%chunkSize == 0 {
			s.endChunk()
		}
	}
	return len(p), nil
}

func (s *sums) endChunk() {
	s.chunks = append(s.chunks, hex.EncodeToString(s.chunk.Sum(nil)))
	s.chunk.Reset()
}

// end gives the sums, and how much was written.
func (s *sums) end() (whole string, chunks []string, size int64) {
	if s.size%chunkSize != 0 {
		s.endChunk()
	}
	return hex.EncodeToString(s.whole.Sum(nil)), s.chunks, s.size
}

// sumFile reads a file from its start and gives its sha256 and size.
func sumFile(f io.ReaderAt) (string, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(f, 0, maxArchive))
	return hex.EncodeToString(h.Sum(nil)), n, err
}
