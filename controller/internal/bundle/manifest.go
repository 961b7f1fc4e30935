package bundle

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Names of what every bundle has beside its content.
const (
	ManifestName  = "manifest"
	SignatureName = "manifest.minisig"
)

// Bounds of what a manifest may hold.
const (
	maxManifest = 64 << 20
	maxFiles    = 500_000
	maxPath     = 1024
	maxFile     = 8<<30 - 1 // what a tar header can say in octal digits
	maxPacked   = 64 << 20  // of content that is kept compressed, since it is read whole
)

const manifestFormat = "gofleet-bundle/v1"

// File is one file of a bundle, as the manifest describes it.
type File struct {
	Path   string      `json:"path"` // clean, relative, with slashes
	Mode   fs.FileMode `json:"-"`    // 0644 or 0755
	Size   int64       `json:"size"` // bytes
	SHA256 string      `json:"sha256"`

	// Packed is the file compressed with zstd, where a bundle that is one file
	// keeps it so; nil where it is kept as it is.
	Packed *Packed `json:"packed,omitempty"`
}

// Packed is the compressed form of a file.
type Packed struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Manifest lists what a bundle holds, sorted by path. Its text has one form
// only, and is at the same time the input of `sha256sum -c`:
//
//	# gofleet-bundle/v1
//	# made by gofleet 0.1.0
//	# 66712345 0644
//	d0f7…  archives/go1.26.8.linux-amd64.tar.gz
//	# 15203112 0755 zstd 5911223 9e1c…
//	1b7a…  gofleet/gofleet-linux-amd64
//
// The line above each file has its size and mode and, where it is kept
// compressed, size and sha256 of that.
type Manifest struct {
	MadeBy string // version of gofleet
	Files  []File
}

// Encode gives the text of the manifest.
func (m *Manifest) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n# made by gofleet %s\n", manifestFormat, m.MadeBy)
	for _, f := range m.Files {
		fmt.Fprintf(&b, "# %d %04o", f.Size, f.Mode)
		if f.Packed != nil {
			fmt.Fprintf(&b, " zstd %d %s", f.Packed.Size, f.Packed.SHA256)
		}
		fmt.Fprintf(&b, "\n%s  %s\n", f.SHA256, f.Path)
	}
	return b.Bytes()
}

// ParseManifest reads what Encode writes, and nothing else.
func ParseManifest(text []byte) (*Manifest, error) {
	if len(text) > maxManifest {
		return nil, fmt.Errorf("it is longer than %d bytes", maxManifest)
	}
	lines := strings.Split(string(text), "\n")
	n := len(lines)
	if n < 3 || lines[0] != "# "+manifestFormat {
		return nil, fmt.Errorf("it does not begin with \"# %s\"", manifestFormat)
	}
	by, ok := strings.CutPrefix(lines[1], "# made by gofleet ")
	if !ok || by == "" || !printable(by) || n%2 == 0 || lines[n-1] != "" || n/2-1 > maxFiles {
		return nil, errors.New("it is not written as gofleet writes it")
	}
	m := &Manifest{MadeBy: by, Files: make([]File, 0, n/2-1)}
	for i := 2; i < n-1; i += 2 {
		f, err := parseFile(lines[i], lines[i+1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if len(m.Files) > 0 {
			last := m.Files[len(m.Files)-1].Path
			if f.Path <= last {
				return nil, fmt.Errorf("line %d: %q is not in its place", i+1, f.Path)
			}
		}
		m.Files = append(m.Files, f)
	}
	if err := m.checkDirs(); err != nil {
		return nil, err
	}
	if !bytes.Equal(m.Encode(), text) {
		return nil, errors.New("it is not written as gofleet writes it")
	}
	return m, nil
}

// checkDirs wants no path to be a file and a directory.
func (m *Manifest) checkDirs() error {
	files := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		files[f.Path] = true
	}
	for _, f := range m.Files {
		for d := path.Dir(f.Path); d != "."; d = path.Dir(d) {
			if files[d] {
				return fmt.Errorf("%q is a file and a directory", d)
			}
		}
	}
	return nil
}

func parseFile(about, name string) (File, error) {
	fields := strings.Split(about, " ")
	if len(fields) != 3 && len(fields) != 6 || fields[0] != "#" {
		return File{}, errors.New("not size and mode of a file")
	}
	var f File
	var err error
	if f.Size, err = parseSize(fields[1], maxFile); err != nil {
		return File{}, err
	}
	switch fields[2] {
	case "0644":
		f.Mode = 0o644
	case "0755":
		f.Mode = 0o755
	default:
		return File{}, fmt.Errorf("mode %q is neither 0644 nor 0755", fields[2])
	}
	var ok bool
	if f.SHA256, f.Path, ok = strings.Cut(name, "  "); !ok || !isSHA256(f.SHA256) {
		return File{}, errors.New("not sha256 and path of a file")
	}
	if err := checkPath(f.Path); err != nil {
		return File{}, err
	}
	if len(fields) == 3 {
		return f, nil
	}
	p := &Packed{SHA256: fields[5]}
	if p.Size, err = parseSize(fields[4], f.Size); err != nil || fields[3] != "zstd" || !isSHA256(p.SHA256) || f.Size > maxPacked {
		return File{}, errors.New("not size and sha256 of a compressed file")
	}
	f.Packed = p
	return f, nil
}

func parseSize(s string, limit int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > limit {
		return 0, fmt.Errorf("%q is not the size of a file here", s)
	}
	return n, nil
}

// checkPath takes paths that mean the same everywhere.
func checkPath(p string) error {
	if p == "" || len(p) > maxPath || !fs.ValidPath(p) || p == "." || !printable(p) || strings.Contains(p, `\`) {
		return fmt.Errorf("%q is not a path of a bundle", p)
	}
	if p == ManifestName || p == SignatureName {
		return fmt.Errorf("%q cannot describe itself", p)
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func isSHA256(s string) bool {
	if len(s) != 64 || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}
