package bundle

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sort"

	"github.com/gofleet/gofleet/controller/internal/release"
)

// fileStore is a bundle that is one file, or the parts of one.
type fileStore struct {
	path   string
	r      *joined
	tail   []byte // from the manifest on, as it was read
	offset int64  // of the tail
	places []place
	parts  *partList // nil for one file
}

func openFile(path string) (store, error) {
	f, err := release.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	j, err := join([]*os.File{f})
	if err != nil {
		return nil, err
	}
	return &fileStore{path: path, r: j}, nil
}

func (s *fileStore) Close() error { return s.r.Close() }

func (s *fileStore) framing(at int64, reason string) error {
	e := &Error{Bundle: s.path, Layer: Framing, Reason: reason, Hint: carryHint}
	if at >= 0 {
		e.What = fmt.Sprintf("at byte %d", at)
	}
	return e
}

// signed reads the end of the file: footer, then manifest and signature. It
// makes the tail again from them and wants it to be what is there.
func (s *fileStore) signed() (manifest, signature []byte, err error) {
	end := make([]byte, footerSize)
	if s.r.size < int64(footerSize) {
		return nil, nil, s.framing(-1, "the file is too short for a bundle")
	}
	if err := readFull(s.r, end, s.r.size-int64(footerSize)); err != nil {
		return nil, nil, err
	}
	f, ok := parseFooter(end)
	if !ok {
		return nil, nil, s.framing(s.r.size-int64(footerSize), "it has no end as bundles have: it is cut off, damaged or no bundle")
	}
	tail := appendTail(nil, f.offset, make([]byte, f.manifest), make([]byte, f.signature))
	if f.offset != s.r.size-int64(len(tail)) {
		return nil, nil, s.framing(f.offset, fmt.Sprintf("the manifest should begin at byte %d: the file is cut off or longer than it was", s.r.size-int64(len(tail))))
	}
	if err := readFull(s.r, tail, f.offset); err != nil {
		return nil, nil, err
	}
	manifest, signature = make([]byte, f.manifest), make([]byte, f.signature)
	m := rawReader{bytes.NewReader(tail), rawSize(tarBlock), f.manifest}
	if _, err := io.ReadFull(io.NewSectionReader(m, 0, f.manifest), manifest); err != nil {
		return nil, nil, err
	}
	if f.signature == 0 {
		signature = nil
	} else {
		at := (&File{Path: ManifestName, Size: f.manifest}).place(0).end
		g := rawReader{bytes.NewReader(tail), at + rawSize(tarBlock), f.signature}
		if _, err := io.ReadFull(io.NewSectionReader(g, 0, f.signature), signature); err != nil {
			return nil, nil, err
		}
	}
	if want := appendTail(nil, f.offset, manifest, signature); !bytes.Equal(want, tail) {
		return nil, nil, s.framing(f.offset+int64(differAt(want, tail)), "not the byte that belongs there")
	}
	s.tail, s.offset = tail, f.offset
	return manifest, signature, nil
}

func (s *fileStore) settle(m *Manifest) error {
	at := int64(0)
	s.places = make([]place, len(m.Files))
	for i := range m.Files {
		s.places[i] = m.Files[i].place(at)
		if at = s.places[i].end; at > s.offset {
			break
		}
	}
	if at != s.offset {
		return s.framing(-1, fmt.Sprintf("the files of the manifest take %d bytes, there are %d", at, s.offset))
	}
	return nil
}

func (s *fileStore) open(i int) (stored, error) {
	p := s.places[i]
	if p.packed {
		return unclosed{io.NewSectionReader(s.r, p.data, p.pad-p.data)}, nil
	}
	return unclosed{rawReader{s.r, p.data, p.size}}, nil
}

// unclosed leaves the store's files open: they are closed with the bundle.
type unclosed struct{ io.ReaderAt }

func (unclosed) Close() error { return nil }

func (s *fileStore) stamp(i int) (release.Stamp, error) {
	return s.r.stamp(s.places[i].head, s.places[i].end)
}

// check has nothing to do: the bytes between files are compared with them.
func (s *fileStore) check(*Manifest) []error { return nil }

func (s *fileStore) blame() error {
	if s.parts == nil {
		return nil
	}
	return s.parts.blame()
}

// joined reads files one behind the other as if they were one.
type joined struct {
	files []*os.File
	ends  []int64 // where each ends
	size  int64
}

func join(files []*os.File) (*joined, error) {
	j := &joined{files: files}
	for _, f := range files {
		st, err := f.Stat()
		if err != nil {
			j.Close()
			return nil, fmt.Errorf("open bundle: %w", err)
		}
		j.size += st.Size()
		j.ends = append(j.ends, j.size)
	}
	return j, nil
}

func (j *joined) Close() error {
	var first error
	for _, f := range j.files {
		if err := f.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (j *joined) ReadAt(p []byte, at int64) (int, error) {
	n := 0
	for n < len(p) {
		i := sort.Search(len(j.ends), func(i int) bool { return j.ends[i] > at })
		if i == len(j.files) {
			return n, io.EOF
		}
		begin := int64(0)
		if i > 0 {
			begin = j.ends[i-1]
		}
		stretch := min(int64(len(p)-n), j.ends[i]-at)
		got, err := j.files[i].ReadAt(p[n:n+int(stretch)], at-begin)
		n += got
		at += int64(got)
		if int64(got) < stretch {
			if err == io.EOF {
				err = fmt.Errorf("read %s: it became shorter: %w", j.files[i].Name(), io.ErrUnexpectedEOF)
			}
			return n, err
		}
	}
	return n, nil
}

// stamp is that of the files which the bytes from begin to end lie in.
func (j *joined) stamp(begin, end int64) (release.Stamp, error) {
	var stamps []release.Stamp
	start := int64(0)
	for i, f := range j.files {
		if start < end && j.ends[i] > begin {
			s, err := release.StampOf(f)
			if err != nil {
				return s, err
			}
			stamps = append(stamps, s)
		}
		start = j.ends[i]
	}
	return release.Joined("", end-begin, stamps), nil
}

func readFull(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	return fmt.Errorf("read bundle: %w", err)
}

// differAt is where two texts begin to differ.
func differAt(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
