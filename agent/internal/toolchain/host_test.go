package toolchain

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// archive is a small release whose go command is a script.
type archive struct {
	raw      []byte // gzip
	release  wire.Release
	transfer wire.Transfer
}

// smallTree are the files of a small release.
func smallTree(version string) map[string]string {
	files := map[string]string{
		"VERSION":             "go" + version + "\ntime 2026-08-28T16:20:06Z\n",
		"go.env":              "GOPROXY=https://example.invalid\n",
		"bin/go":              "#!/bin/sh\necho go version go" + version + " linux/amd64\n",
		"bin/gofmt":           "#!/bin/sh\nexit 0\n",
		"pkg/tool/os/compile": "#!/bin/sh\nexit 0\n",
		"src/large.txt":       strings.Repeat(version+" ", 40_000), // more than one buffer
	}
	random := make([]byte, 30_000) // so that the archive has several chunks
	rand.NewChaCha8(sha256.Sum256([]byte(version))).Read(random)
	files["src/random"] = string(random)
	for i := range 40 {
		files[fmt.Sprintf("src/p%d/p.go", i)] = fmt.Sprintf("package p%d // %s\n", i, version)
	}
	return files
}

func pack(t testing.TB, version string, files map[string]string) archive {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for path, body := range files {
		mode := int64(0o644)
		if strings.HasPrefix(path, "bin/") || strings.HasPrefix(path, "pkg/tool/") {
			mode = 0o755
		}
		if err := w.WriteHeader(&tar.Header{Name: "go/" + path, Mode: mode, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return describe(t, version, b.Bytes(), wire.Gzip)
}

// describe makes the release and transfer that a controller would send.
func describe(t testing.TB, version string, raw []byte, encoding string) archive {
	t.Helper()
	d, err := tree.Decompress(bytes.NewReader(raw), encoding)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m, err := tree.Read(d, tree.DefaultLimits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	files, dirs, size := m.Count()
	platform := spec.Platform{OS: "linux", Arch: "amd64"}
	return archive{
		raw: raw,
		release: wire.Release{
			Version: version, Platform: platform, Name: "go" + version + ".linux-amd64.tar.gz",
			SHA256: sum(raw), Evidence: "pin",
			Tree: wire.Tree{SHA256: m.Sum(), Files: files, Dirs: dirs, Bytes: size},
		},
		transfer: transferOf(raw, encoding, 1<<12),
	}
}

func transferOf(raw []byte, encoding string, chunk int) wire.Transfer {
	t := wire.Transfer{Encoding: encoding, SHA256: sum(raw), Size: int64(len(raw)), ChunkSize: int64(chunk)}
	for at := 0; at < len(raw); at += chunk {
		t.Chunks = append(t.Chunks, sum(raw[at:min(at+chunk, len(raw))]))
	}
	return t
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// newStore is a store in a fresh directory: <dir>/lib/gofleet and <dir>/go.
func newStore(t testing.TB) *Store {
	t.Helper()
	return storeIn(t, t.TempDir())
}

func storeIn(t testing.TB, dir string) *Store {
	t.Helper()
	layout, err := NewLayout(filepath.Join(dir, "lib/gofleet"), filepath.Join(dir, "go"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	return &Store{Layout: layout, Gofleet: "0.1.0"}
}

// apply is what serve does with a store.
func apply(ctx context.Context, s *Store, a archive, hooks Hooks) error {
	return applyBy(ctx, s, a, func(*State) error { return install(ctx, s, a, hooks) })
}

// applyBy is apply with a way to install of its own.
func applyBy(ctx context.Context, s *Store, a archive, install func(*State) error) error {
	lock, err := s.Lock(ctx, Holder{PID: os.Getpid(), Run: "test"}, 0, nil)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	rec, err := record.Load(s.Root)
	if err != nil {
		return err
	}
	st, err := s.Inspect(ctx, a.release.Version, false)
	if err != nil {
		return err
	}
	if err := s.Sweep(!st.Ready(), rec); err != nil {
		return err
	}
	if st, err = s.Inspect(ctx, a.release.Version, false); err != nil {
		return err
	}
	if !st.Ready() {
		if err := install(st); err != nil {
			return err
		}
	}
	if st, err = s.Inspect(ctx, a.release.Version, false); err != nil {
		return err
	}
	steps, err := s.PlanSwitch(st, a.release.Version, rec)
	if err != nil {
		return err
	}
	prune, _ := s.PlanPrune(st, a.release.Version, 1)
	r := change.NewRecorder(false, false)
	if err := r.Run(ctx, append(steps, prune...)...); err != nil {
		return err
	}
	return rec.Save(s.Root)
}

func install(ctx context.Context, s *Store, a archive, hooks Hooks) error {
	staged, err := stageFrom(ctx, s, a, nil)
	if err != nil {
		return err
	}
	return s.Commit(ctx, staged, hooks)
}

func stageFrom(ctx context.Context, s *Store, a archive, gathered *Gathered) (*Staged, error) {
	u, err := s.Receive(ctx, a.release, a.transfer, gathered, os.Geteuid())
	if err != nil {
		return nil, err
	}
	defer u.Close()
	at := u.Need().Offset
	_ = u.Append(bytes.NewReader(a.raw[at:]), int64(len(a.raw))-at) // Extract tells of its error
	return u.Extract(ctx, nil)
}

func mustApply(t testing.TB, s *Store, a archive) {
	t.Helper()
	if err := apply(t.Context(), s, a, Hooks{}); err != nil {
		t.Fatal(err)
	}
}

// goVersion runs the go command that the link leads to.
func goVersion(s *Store) string {
	out, err := exec.Command(filepath.Join(s.Link, "bin/go"), "version").CombinedOutput()
	if err != nil {
		return err.Error()
	}
	f := strings.Fields(string(out))
	return strings.TrimPrefix(f[2], "go")
}

func wantVersion(t testing.TB, s *Store, want string) {
	t.Helper()
	if got := goVersion(s); got != want {
		t.Fatalf("%s runs go %q, want %q", s.Link, got, want)
	}
}

// listing is everything under dir, with types, modes and link targets.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		line := st.Mode().String() + " " + strings.TrimPrefix(path, dir)
		if st.Mode()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + to
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantClean checks that nothing of a run is left but what should be.
func wantClean(t testing.TB, s *Store) {
	t.Helper()
	for _, line := range append(listing(t, s.Root), listing(t, filepath.Dir(s.Link))...) {
		if strings.Contains(line, "/.") {
			t.Errorf("left behind: %s", line)
		}
	}
}

func kindOf(err error) wire.Kind { return wire.AsError(err, "none").Kind }

// asRoot skips what needs root where there is none.
func asRoot(t testing.TB) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func writeFile(t testing.TB, path, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
}
