package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/controller/internal/release"
)

const (
	partsFormat = "gofleet-bundle-parts/v1"
	partsSuffix = ".parts" // of the list, which is signed like a manifest
	maxParts    = 999
	maxTotal    = 1 << 53 // bytes; with that many parts nothing runs over
)

// partPattern is how the names of parts and of what belongs to them end.
var partPattern = regexp.MustCompile(`\.(part[0-9]{3}|parts|parts\.minisig)$`)

func partName(name string, n int) string { return fmt.Sprintf("%s.part%03d", name, n) }

// partsOf gives the name of the bundle that was split, if location is one of
// its parts, their list, or the name itself with only parts there; else "".
func partsOf(location string) string {
	if name := partPattern.ReplaceAllString(location, ""); name != location {
		return name
	}
	if _, err := os.Stat(location); err == nil {
		return ""
	}
	if _, err := os.Stat(location + partsSuffix); err == nil {
		return location
	}
	return ""
}

// partList is what is known of the parts of one bundle. Its text is the input
// of `sha256sum -c`:
//
//	# gofleet-bundle-parts/v1
//	# 9876543210 bytes, 4000000000 a part
//	5e0a…  site.bundle.part001
type partList struct {
	path  string // of the bundle, without a suffix
	total int64
	each  int64
	sums  []string
}

// size is how many bytes part n, from 0, has.
func (p *partList) size(n int) int64 { return min(p.each, p.total-int64(n)*p.each) }

func (p *partList) name(n int) string { return partName(filepath.Base(p.path), n+1) }

func (p *partList) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n# %d bytes, %d a part\n", partsFormat, p.total, p.each)
	for i, sum := range p.sums {
		fmt.Fprintf(&b, "%s  %s\n", sum, p.name(i))
	}
	return b.Bytes()
}

// parseParts reads what encode writes, and nothing else.
func parseParts(path string, text []byte) (*partList, error) {
	p := &partList{path: path}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 4 || len(lines) > maxParts+3 || lines[0] != "# "+partsFormat {
		return nil, fmt.Errorf("it does not begin with \"# %s\"", partsFormat)
	}
	if _, err := fmt.Sscanf(lines[1], "# %d bytes, %d a part", &p.total, &p.each); err != nil {
		return nil, errors.New("it is not written as gofleet writes it")
	}
	for _, line := range lines[2 : len(lines)-1] {
		sum, _, _ := strings.Cut(line, "  ")
		if !isSHA256(sum) {
			return nil, errors.New("it is not written as gofleet writes it")
		}
		p.sums = append(p.sums, sum)
	}
	n := int64(len(p.sums))
	switch {
	case p.each <= 0 || p.total <= 0 || p.total > maxTotal || p.each > maxTotal || (n-1)*p.each >= p.total || n*p.each < p.total:
		return nil, errors.New("its sizes and the number of its parts do not fit")
	case !bytes.Equal(p.encode(), text):
		return nil, fmt.Errorf("it is not the list of %s: it names other files, or is not written as gofleet writes it", filepath.Base(path))
	}
	return p, nil
}

// openParts opens all parts of a bundle, whose list must be signed.
func openParts(path string, t Trust) (store, error) {
	list := filepath.Base(path) + partsSuffix
	fail := func(what, reason, hint string) (store, error) {
		return nil, &Error{Bundle: path, Layer: Part, What: what, Reason: reason, Hint: hint}
	}
	text, err := readBounded(path+partsSuffix, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(list, "the list of parts is missing", "carry it over with the parts: it lies beside them")
	}
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	signature, err := readBounded(path+partsSuffix+".minisig", 1<<16)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	if _, err := t.judge(path, list, text, signature); err != nil {
		return nil, err
	}
	p, err := parseParts(path, text)
	if err != nil {
		return fail(list, err.Error(), carryHint)
	}
	if err := p.present(); err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range p.sums {
		f, err := release.OpenRegular(partName(path, i+1))
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, fmt.Errorf("open bundle: %w", err)
		}
		files = append(files, f)
	}
	j, err := join(files)
	if err != nil {
		return nil, err
	}
	return &fileStore{path: path, r: j, parts: p}, nil
}

// present names every part that is missing, has a wrong size or does not
// belong.
func (p *partList) present() error {
	var errs []error
	wrong := func(name, reason, hint string) {
		errs = append(errs, &Error{Bundle: p.path, Layer: Part, What: name, Reason: reason, Hint: hint})
	}
	for i := range p.sums {
		st, err := os.Stat(partName(p.path, i+1))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			wrong(p.name(i), fmt.Sprintf("it is missing; the bundle has %d parts", len(p.sums)), "carry it over")
		case err != nil:
			wrong(p.name(i), err.Error(), carryHint)
		case st.Size() != p.size(i):
			wrong(p.name(i), fmt.Sprintf("it has %d bytes, not %d", st.Size(), p.size(i))+p.otherwise(i), "carry it over again")
		}
	}
	there, _ := filepath.Glob(globQuote(p.path) + ".part[0-9][0-9][0-9]")
	for _, path := range there {
		if name := filepath.Base(path); !p.has(name) {
			wrong(name, fmt.Sprintf("it does not belong to this bundle, which has %d parts", len(p.sums)), "take it away")
		}
	}
	return errors.Join(errs...)
}

func (p *partList) has(name string) bool {
	for i := range p.sums {
		if p.name(i) == name {
			return true
		}
	}
	return false
}

// otherwise says which part's content lies under the name of part i, if any.
func (p *partList) otherwise(i int) string {
	sum, err := sumPath(partName(p.path, i+1))
	if err != nil {
		return ""
	}
	if j := slices.Index(p.sums, sum); j >= 0 && j != i {
		return fmt.Sprintf(": it is %s under a wrong name", p.name(j))
	}
	return ""
}

// blame reads all parts and names those that are not what the list says.
func (p *partList) blame() error {
	var errs []error
	for i, want := range p.sums {
		got, err := sumPath(partName(p.path, i+1))
		switch {
		case err != nil:
			errs = append(errs, &Error{Bundle: p.path, Layer: Part, What: p.name(i), Reason: err.Error(), Hint: carryHint})
		case got != want:
			reason := fmt.Sprintf("it is damaged: it has sha256 %s, the list of parts says %s", got, want)
			if j := slices.Index(p.sums, got); j >= 0 {
				reason = fmt.Sprintf("it is %s under a wrong name", p.name(j))
			}
			errs = append(errs, &Error{Bundle: p.path, Layer: Part, What: p.name(i), Reason: reason, Hint: "carry it over again"})
		}
	}
	return errors.Join(errs...)
}

func sumPath(path string) (string, error) {
	f, err := release.OpenRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := release.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return data, err
}

// globQuote takes the meaning from what filepath.Glob would read as a pattern.
func globQuote(s string) string {
	return regexp.MustCompile(`[*?\[\\]`).ReplaceAllString(s, `\$0`)
}
