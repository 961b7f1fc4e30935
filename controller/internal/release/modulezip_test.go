package release

import (
	"archive/zip"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/dirhash"

	"github.com/gofleet/gofleet/agent/spec"
)

// windows writes the release as a .zip, as Go publishes it for Windows.
func (f fakeRelease) windows(t testing.TB, dir string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, p := range slices.Sorted(maps.Keys(f.files)) {
		h := &zip.FileHeader{Name: "go/" + p, Method: zip.Deflate}
		h.SetMode(treeMode(p))
		w, err := z.CreateHeader(h)
		must(t, err)
		_, err = io.WriteString(w, f.files[p])
		must(t, err)
	}
	must(t, z.Close())
	file := filepath.Join(dir, f.name.String())
	must(t, os.WriteFile(file, b.Bytes(), 0o644))
	return file
}

// openKnown opens an archive whose sum the table has.
func openKnown(t testing.TB, f fakeRelease, file, cache string) *Archive {
	t.Helper()
	s, err := NewStore(Options{Location: filepath.Dir(file), CacheDir: cache, Table: Table{f.name.String(): sumOf(t, file)}})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	a, err := s.Open(t.Context(), f.name.Version, f.name.Platform)
	must(t, err)
	return a
}

// fakeFor is a release whose programs are of another kind than Linux's.
func fakeFor(p spec.Platform, ending, program string) fakeRelease {
	f := newFake("1.26.8", p)
	for _, file := range slices.Collect(maps.Keys(f.files)) {
		if strings.HasPrefix(f.files[file], elf.ELFMAG) {
			delete(f.files, file)
			f.files[file+ending] = program
		}
	}
	return f
}

func TestModuleZipHasTheHashThatTheLogHas(t *testing.T) {
	linux := newFake("1.26.8", amd64)
	win := fakeFor(spec.Platform{OS: "windows", Arch: "amd64"}, ".exe",
		"MZ"+strings.Repeat("\x00", 0x3a)+"\x40\x00\x00\x00PE\x00\x00\x64\x86"+strings.Repeat("\x00", 18))
	mac := fakeFor(spec.Platform{OS: "darwin", Arch: "arm64"}, "", "\xcf\xfa\xed\xfe\x0c\x00\x00\x01")
	for name, c := range map[string]struct {
		f    fakeRelease
		file string
	}{
		"tar.gz": {linux, linux.official(t, t.TempDir())},
		"zip":    {win, win.windows(t, t.TempDir())},
		"darwin": {mac, mac.official(t, t.TempDir())},
	} {
		t.Run(name, func(t *testing.T) {
			var first []byte
			for range 2 { // the same bytes in another cache
				a := openKnown(t, c.f, c.file, filepath.Join(t.TempDir(), "cache"))
				for _, made := range []bool{true, false} {
					z, err := a.ModuleZip(t.Context())
					must(t, err)
					defer z.Close()
					data, err := io.ReadAll(io.NewSectionReader(z, 0, z.Size))
					must(t, err)
					if first == nil {
						first = data
					}
					if z.Made != made || !bytes.Equal(data, first) {
						t.Errorf("made: %v, want %v; %d bytes, first %d", z.Made, made, len(data), len(first))
					}
					file := filepath.Join(t.TempDir(), "module.zip")
					must(t, os.WriteFile(file, data, 0o644))
					h1, err := dirhash.HashZip(file, dirhash.Hash1)
					must(t, err)
					if want := c.f.h1(t); h1 != want || z.H1 != want || z.SHA256 != sumOf(t, file) {
						t.Errorf("hash %s, told %s, want %s", h1, z.H1, want)
					}
				}
			}
		})
	}
}

func TestModuleZipOfOldReleases(t *testing.T) {
	f := newFake("1.20.3", amd64)
	a := openKnown(t, f, f.official(t, t.TempDir()), filepath.Join(t.TempDir(), "cache"))
	if _, err := a.ModuleZip(t.Context()); !errors.Is(err, ErrNoModule) {
		t.Errorf("got %v", err)
	}
}

// An archive that was changed after it was verified gives no module, and
// neither does a caller that has gone leave half of one.
func TestModuleZipIsMadeOfWhatWasVerified(t *testing.T) {
	f := newFake("1.26.8", amd64)
	file := f.official(t, t.TempDir())
	a := openKnown(t, f, file, filepath.Join(t.TempDir(), "cache"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.ModuleZip(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	f.files["bin/gofmt"] += "changed"
	other := f.official(t, t.TempDir())
	copyFile(t, other, file)
	_, err := a.ModuleZip(t.Context())
	wantRefused(t, err, "changed while gofleet ran", "")
}

// What somebody has written into the cache is not served.
func TestModuleZipInTheCacheIsCompared(t *testing.T) {
	f := newFake("1.26.8", amd64)
	cache := filepath.Join(t.TempDir(), "cache")
	a := openKnown(t, f, f.official(t, t.TempDir()), cache)
	z, err := a.ModuleZip(t.Context())
	must(t, err)
	must(t, z.Close())
	path := filepath.Join(cache, "archives", a.SHA256(), moduleZipName)
	data, err := os.ReadFile(path)
	must(t, err)
	data[len(data)/2] ^= 1
	must(t, os.WriteFile(path, data, 0o600))
	must(t, os.Chtimes(path, time.Time{}, time.Unix(1, 0)))
	z, err = a.ModuleZip(t.Context())
	must(t, err)
	defer z.Close()
	if !z.Made {
		t.Error("it was not made anew")
	}
}
