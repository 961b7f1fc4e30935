package toolchain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// Format is the newest format of a manifest that this agent reads and writes.
const Format = 1

// Header is what a manifest says beside the tree.
type Header struct {
	Format    int           `json:"format"`
	Version   string        `json:"version"` // without "go"; "" for a module cache
	Platform  spec.Platform `json:"platform,omitzero"`
	Archive   string        `json:"archive"`  // the file's name
	SHA256    string        `json:"sha256"`   // of the archive as published
	Evidence  string        `json:"evidence"` // why it was believed
	Tree      wire.Tree     `json:"tree"`
	DiskBytes int64         `json:"disk_bytes"` // content in whole blocks of 4 KiB
	Installed time.Time     `json:"installed"`  // the host's clock
	Gofleet   string        `json:"gofleet"`
	// Previous is what the link led to before: the name of a directory in the
	// root (go1.26.7, go.unmanaged-…), or an absolute path; "" for nothing.
	Previous string `json:"previous,omitempty"`
	// Mending is set while the directory is repaired file by file: whatever a
	// quick look says, it is not whole.
	Mending bool `json:"mending,omitempty"`
}

// Manifest is the content of manifests/go<version>: a line of JSON, the text
// of the tree manifest, and a last line with the sha256 of all before it, so
// that a damaged manifest is known as one.
type Manifest struct {
	Header
	text []byte // of the tree
}

// errDamaged is a manifest that is not what was written.
var errDamaged = errors.New("manifest is damaged")

const sumPrefix = "sha256 "

func (m *Manifest) encode() ([]byte, error) {
	head, err := json.Marshal(m.Header)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	b := make([]byte, 0, len(head)+len(m.text)+80)
	b = append(append(b, head...), '\n')
	b = append(b, m.text...)
	sum := sha256.Sum256(b)
	b = append(b, sumPrefix...)
	b = hex.AppendEncode(b, sum[:])
	return append(b, '\n'), nil
}

// parseManifest reads what encode wrote. Its errors are those of parseHeader.
func parseManifest(path string, b []byte) (*Manifest, error) {
	head, rest, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return nil, errDamaged
	}
	h, err := parseHeader(path, head)
	if err != nil {
		return nil, err
	}
	tail := len(sumPrefix) + 2*sha256.Size + 1
	if len(rest) < tail {
		return nil, errDamaged
	}
	sum := sha256.Sum256(b[:len(b)-tail])
	if string(b[len(b)-tail:]) != sumPrefix+hex.EncodeToString(sum[:])+"\n" {
		return nil, errDamaged
	}
	return &Manifest{Header: *h, text: rest[:len(rest)-tail]}, nil
}

// parseHeader reads the first line. A newer format is an error of kind
// manifest_newer before anything else is looked at; whatever else is wrong is
// errDamaged.
func parseHeader(path string, line []byte) (*Header, error) {
	var format struct {
		Format int `json:"format"`
	}
	if json.Unmarshal(line, &format) != nil || format.Format < 1 {
		return nil, errDamaged
	}
	if format.Format > Format {
		return nil, wire.NewError(wire.KindFormat,
			fmt.Errorf("%s has format %d; this gofleet reads up to %d", path, format.Format, Format),
			"use the newer gofleet that wrote it")
	}
	var h Header
	if json.Unmarshal(line, &h) != nil || h.Version != "" && !validVersion(h.Version) {
		return nil, errDamaged
	}
	return &h, nil
}

func isNewer(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) && e.Kind == wire.KindFormat
}

// isMissing reports a manifest that is not there or not believed.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDamaged)
}

// Entries is the whole tree manifest.
func (m *Manifest) Entries() (tree.Manifest, error) { return tree.Parse(m.text) }

// readManifest reads and proves the manifest of a version. Its error is
// fs.ErrNotExist, errDamaged, one of kind manifest_newer, or one of the system.
// The last one stays known: a run looks before it takes the lock and again
// after, and most often nothing has changed.
func (s *Store) readManifest(version string) (*Manifest, error) {
	path := s.Manifest(version)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	st.Atim = unix.Timespec{}
	if s.proved.manifest != nil && s.proved.path == path && s.proved.stat == st {
		m := *s.proved.manifest
		return &m, nil
	}
	b, err := readUpTo(path, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(path, b)
	if err == nil && m.Version != version {
		return nil, errDamaged
	}
	if err == nil {
		known := *m
		s.proved = proof{path: path, stat: st, manifest: &known}
	}
	return m, err
}

// proof is a manifest that was read, and the file that it was read from.
type proof struct {
	path     string
	stat     unix.Stat_t // without the time of access
	manifest *Manifest
}

// readHeader reads the first line of a manifest, with the errors of
// readManifest.
func (l *Layout) readHeader(version string) (*Header, error) {
	b, err := readUpTo(l.Manifest(version), maxHeader)
	if err != nil {
		return nil, err
	}
	line, _, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return nil, errDamaged
	}
	h, err := parseHeader(l.Manifest(version), line)
	if err == nil && h.Version != version {
		return nil, errDamaged
	}
	return h, err
}

// Bounds of what is read: a tree of 60,000 entries stays far below.
const (
	maxManifest = 32 << 20
	maxHeader   = 64 << 10
)

func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, errDamaged
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errDamaged
	}
	b := make([]byte, min(st.Size(), limit))
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	return b, nil
}

func (s *Store) writeManifest(m *Manifest) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	return durable.WriteFile(s.Manifest(m.Version), b, 0o644)
}

// setPrevious records what the link led to before it leads to version. A
// toolchain without a readable manifest has nothing to record it in.
func (s *Store) setPrevious(version, previous string) error {
	m, err := s.readManifest(version)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.Previous == previous {
		return nil
	}
	m.Previous = previous
	return s.writeManifest(m)
}

// diskBytes is what the files of a tree take in whole blocks, their inodes
// left out.
func diskBytes(m tree.Manifest) int64 {
	const block = 4 << 10
	var n int64
	for i := range m {
		if m[i].Dir {
			n += block
		} else {
			n += (m[i].Size + block - 1) / block * block
		}
	}
	return n
}
