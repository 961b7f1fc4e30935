package toolchain

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// receive opens an upload and closes it at the end of the test.
func receive(t *testing.T, s *Store, a archive, loginUID int) *Upload {
	t.Helper()
	u, err := s.Receive(t.Context(), a.release, a.transfer, nil, loginUID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// TestExtractFollowsTheUpload feeds the file piece by piece, as SFTP does, and
// tells the agent only then.
func TestExtractFollowsTheUpload(t *testing.T) {
	s := newStore(t)
	a := pack(t, "1.1", smallTree("1.1"))
	u := receive(t, s, a, os.Geteuid())
	f, err := os.OpenFile(u.Need().Path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	extracted := make(chan error, 1)
	var last int64
	go func() {
		st, err := u.Extract(context.Background(), func(n int64) { last = n })
		if err == nil {
			err = s.Commit(context.Background(), st, Hooks{})
		}
		extracted <- err
	}()
	for at := 0; at < len(a.raw); at += 1000 {
		end := min(at+1000, len(a.raw))
		if _, err := f.WriteAt(a.raw[at:end], int64(at)); err != nil {
			t.Fatal(err)
		}
		u.Have(int64(end))
		u.Have(int64(at)) // an older one changes nothing
	}
	if err := <-extracted; err != nil {
		t.Fatal(err)
	}
	if last != int64(len(a.raw)) {
		t.Errorf("received said %d at last, of %d", last, len(a.raw))
	}
	st, err := s.Inspect(t.Context(), "1.1", true)
	if err != nil || !st.Ready() || len(st.Leftovers) != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestStagingIsClosedToOthers(t *testing.T) {
	asRoot(t)
	s := newStore(t)
	a := pack(t, "1.1", smallTree("1.1"))
	const login = 12345
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	u := receive(t, s, a, login)
	for path, want := range map[string]struct {
		mode os.FileMode
		uid  int
	}{
		s.Root:                      {0o755, 0},
		s.Staging():                 {0o711, 0},
		filepath.Dir(u.Need().Path): {0o711, 0},
		u.Need().Path:               {0o600, login},
	} {
		st, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if uid, _ := owner(st); st.Mode().Perm() != want.mode || uid != want.uid {
			t.Errorf("%s has mode %04o and owner %d, want %04o and %d", path, st.Mode().Perm(), uid, want.mode, want.uid)
		}
	}
	if err := u.Append(bytes.NewReader(a.raw), int64(len(a.raw))); err != nil {
		t.Fatal(err)
	}
	st, err := u.Extract(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if dir, err := os.Lstat(st.Dir); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("staged tree before it is proved: %v, %v", dir.Mode(), err)
	}
	if err := s.Commit(t.Context(), st, Hooks{}); err != nil {
		t.Fatal(err)
	}
	// The umask took bits that the archive's modes have.
	if st, err := s.Inspect(t.Context(), "1.1", true); err != nil || !st.Ready() {
		t.Errorf("drift %v, %v", st.Drift, err)
	}
}

func TestResume(t *testing.T) {
	a := pack(t, "1.1", smallTree("1.1"))
	chunk := int(a.transfer.ChunkSize)
	if len(a.raw) < 4*chunk {
		t.Fatalf("the archive has %d bytes, too few for the test", len(a.raw))
	}
	bad := bytes.Clone(a.raw)
	bad[2*chunk+5] ^= 1
	hole := bytes.Clone(a.raw)
	clear(hole[chunk : 2*chunk])
	for name, tc := range map[string]struct {
		left []byte
		age  time.Duration
		want int
	}{
		"nothing":         {nil, 0, 0},
		"one and a half":  {a.raw[:chunk+chunk/2], 0, chunk},
		"all":             {a.raw, 0, len(a.raw)},
		"altered":         {bad, 0, 2 * chunk},
		"a hole":          {hole, 0, chunk},
		"more than there": {append(bytes.Clone(a.raw), "tail"...), 0, len(a.raw)},
		"too old":         {a.raw, 25 * time.Hour, 0},
		"from tomorrow":   {a.raw, -25 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			u := receive(t, s, a, os.Geteuid())
			path := u.Need().Path
			if err := os.WriteFile(path, tc.left, 0o600); err != nil {
				t.Fatal(err)
			}
			when := time.Now().Add(-tc.age)
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
			if err := u.Close(); err != nil {
				t.Fatal(err)
			}
			if err := s.Sweep(true, mustLoad(t, s)); err != nil {
				t.Fatal(err)
			}
			u = receive(t, s, a, os.Geteuid())
			at := int(u.Need().Offset)
			if at != tc.want {
				t.Fatalf("resumes at %d, want %d", at, tc.want)
			}
			if err := u.Append(bytes.NewReader(a.raw[at:]), int64(len(a.raw)-at)); err != nil {
				t.Fatal(err)
			}
			st, err := u.Extract(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Commit(t.Context(), st, Hooks{}); err != nil {
				t.Fatal(err)
			}
			wantClean(t, s)
		})
	}
}

func TestResumeRefusesWhatIsNotAnUpload(t *testing.T) {
	a := pack(t, "1.1", smallTree("1.1"))
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, "not to be touched")
	for name, put := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(secret, path) },
		"hard link": func(path string) error { return os.Link(secret, path) },
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			dir := filepath.Join(s.Staging(), a.transfer.SHA256)
			mustMkdir(t, dir)
			if err := put(filepath.Join(dir, uploadName)); err != nil {
				t.Fatal(err)
			}
			u := receive(t, s, a, os.Geteuid())
			if st, err := os.Lstat(u.Need().Path); err != nil || !st.Mode().IsRegular() || u.Need().Offset != 0 {
				t.Errorf("%v, %v", st.Mode(), err)
			}
			if b, err := os.ReadFile(secret); err != nil || string(b) != "not to be touched" {
				t.Errorf("secret is now %q, %v", b, err)
			}
		})
	}
}

// TestUploadThatStops ends an upload in the middle: what arrived stays for the
// next run, the half-made tree does not.
func TestUploadThatStops(t *testing.T) {
	s := newStore(t)
	mustApply(t, s, pack(t, "1.0", smallTree("1.0")))
	a := pack(t, "1.1", smallTree("1.1"))
	for name, stop := range map[string]func(u *Upload, cancel func()){
		"cancelled": func(_ *Upload, cancel func()) { cancel() },
		"failed":    func(u *Upload, _ func()) { u.Fail(errors.New("connection lost")) },
		"closed":    func(u *Upload, _ func()) { u.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			u := receive(t, s, a, os.Geteuid())
			half := int64(len(a.raw)/2) - u.Need().Offset
			if err := u.Append(bytes.NewReader(a.raw[u.Need().Offset:]), half); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := u.Extract(ctx, nil)
				done <- err
			}()
			stop(u, cancel)
			err := <-done
			if k := kindOf(err); k != wire.KindStopped && k != wire.KindHost {
				t.Errorf("error %v of kind %s", err, k)
			}
			if _, err := os.Lstat(filepath.Join(filepath.Dir(u.Need().Path), treeName)); !os.IsNotExist(err) {
				t.Errorf("the tree is still there: %v", err)
			}
			u.Close()
			again := receive(t, s, a, os.Geteuid())
			if at := again.Need().Offset; at == 0 || at > int64(len(a.raw)/2) {
				t.Errorf("resumes at %d of %d", at, len(a.raw))
			}
			again.Close()
			wantVersion(t, s, "1.0")
		})
	}
	mustApply(t, s, a)
	wantVersion(t, s, "1.1")
	wantClean(t, s)
}

func TestBadArchives(t *testing.T) {
	good := pack(t, "1.1", smallTree("1.1"))
	more := smallTree("1.1")
	more["src/bomb"] = strings.Repeat("x", 1<<20)
	wrong := pack(t, "1.2", smallTree("1.2"))
	wrong.release.Version = "1.1"

	altered := func(a archive, change func(*archive)) archive {
		a.transfer.Chunks = append([]string{}, a.transfer.Chunks...)
		change(&a)
		return a
	}
	// malicious is what a controller would send if it were fooled: the sums of
	// the transfer are right.
	malicious := func(entries ...*tar.Header) archive {
		raw := packHeaders(t, entries...)
		return archive{raw: raw, release: good.release, transfer: transferOf(raw, wire.Gzip, 1<<12)}
	}
	for name, tc := range map[string]struct {
		a    archive
		kind wire.Kind
	}{
		"transfer sum": {altered(good, func(a *archive) { a.transfer.SHA256 = sum(nil) }), wire.KindArchiveCorrupt},
		"tree sum":     {altered(good, func(a *archive) { a.release.Tree.SHA256 = sum(nil) }), wire.KindArchiveCorrupt},
		"fewer files":  {altered(good, func(a *archive) { a.release.Tree.Files++ }), wire.KindArchiveCorrupt},
		"truncated": {altered(good, func(a *archive) {
			a.raw = a.raw[:len(a.raw)-100]
			a.transfer = transferOf(a.raw, wire.Gzip, 1<<12)
		}), wire.KindArchiveCorrupt},
		"flipped bit":  {altered(good, func(a *archive) { a.raw = bytes.Clone(a.raw); a.raw[len(a.raw)/2] ^= 4 }), wire.KindArchiveCorrupt},
		"VERSION":      {wrong, wire.KindArchiveCorrupt},
		"bomb":         {altered(pack(t, "1.1", more), func(a *archive) { a.release = good.release }), wire.KindArchiveUnsafe},
		"dotdot":       {malicious(&tar.Header{Name: "go/../../../evil", Mode: 0o644}), wire.KindArchiveUnsafe},
		"absolute":     {malicious(&tar.Header{Name: "/etc/evil", Mode: 0o644}), wire.KindArchiveUnsafe},
		"link":         {malicious(&tar.Header{Name: "go/x", Mode: 0o755, Typeflag: tar.TypeSymlink, Linkname: "/etc"}), wire.KindArchiveUnsafe},
		"through link": {malicious(&tar.Header{Name: "go/x", Mode: 0o755, Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, &tar.Header{Name: "go/x/evil", Mode: 0o644}), wire.KindArchiveUnsafe},
		"hard link":    {malicious(&tar.Header{Name: "go/x", Mode: 0o644, Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), wire.KindArchiveUnsafe},
		"device":       {malicious(&tar.Header{Name: "go/x", Mode: 0o644, Typeflag: tar.TypeBlock}), wire.KindArchiveUnsafe},
		"setuid":       {malicious(&tar.Header{Name: "go/x", Mode: 0o4755}), wire.KindArchiveUnsafe},
		"twice":        {malicious(&tar.Header{Name: "go/x", Mode: 0o644}, &tar.Header{Name: "go/x", Mode: 0o644}), wire.KindArchiveUnsafe},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			mustApply(t, s, pack(t, "1.0", smallTree("1.0")))
			before := listing(t, filepath.Dir(s.Link))
			err := install(t.Context(), s, tc.a, Hooks{})
			if k := kindOf(err); k != tc.kind {
				t.Errorf("error %v of kind %s, want %s", err, k, tc.kind)
			}
			if after := listing(t, filepath.Dir(s.Link)); strings.Join(before, "\n") != strings.Join(after, "\n") {
				t.Errorf("something is left:\n%s", strings.Join(after, "\n"))
			}
			wantVersion(t, s, "1.0")
		})
	}
}

// packHeaders makes an archive of entries without content.
func packHeaders(t *testing.T, entries ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUploadThatIsNotWhatWasSaid(t *testing.T) {
	s := newStore(t)
	a := pack(t, "1.1", smallTree("1.1"))
	u := receive(t, s, a, os.Geteuid())
	u.Have(int64(len(a.raw))) // nothing was written
	if _, err := u.Extract(t.Context(), nil); kindOf(err) != wire.KindTransfer {
		t.Errorf("an upload that isn't there: %v", err)
	}
	u = receive(t, s, a, os.Geteuid())
	if err := u.Append(io.LimitReader(neverEnding{}, 1<<40), a.transfer.Size+1); kindOf(err) != wire.KindTransfer {
		t.Errorf("more than the transfer: %v", err)
	}
	for name, spoil := range map[string]func(*wire.Release, *wire.Transfer){
		"version":  func(r *wire.Release, _ *wire.Transfer) { r.Version = "../../etc" },
		"sha256":   func(_ *wire.Release, t *wire.Transfer) { t.SHA256 = "../../../tmp/x" },
		"size":     func(_ *wire.Release, t *wire.Transfer) { t.Size = 1 << 40 },
		"chunks":   func(_ *wire.Release, t *wire.Transfer) { t.ChunkSize = 0 },
		"encoding": func(_ *wire.Release, t *wire.Transfer) { t.Encoding = "xz" },
	} {
		r, tr := a.release, a.transfer
		spoil(&r, &tr)
		if _, err := s.Receive(t.Context(), r, tr, nil, os.Geteuid()); kindOf(err) != wire.KindProtocol {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

// TestStreamCutInTheMiddle ends the connection within announced bytes: what
// came is kept, and the next upload begins behind it.
func TestStreamCutInTheMiddle(t *testing.T) {
	s := newStore(t)
	a := pack(t, "1.1", smallTree("1.1"))
	u := receive(t, s, a, os.Geteuid())
	extracted := make(chan error, 1)
	go func() {
		_, err := u.Extract(context.Background(), nil)
		extracted <- err
	}()
	size := int64(len(a.raw))
	whole := size / a.transfer.ChunkSize * a.transfer.ChunkSize
	if err := u.Append(bytes.NewReader(a.raw[:size-1]), size); kindOf(err) != wire.KindStopped {
		t.Errorf("append: %v", err)
	}
	if err := <-extracted; kindOf(err) != wire.KindStopped {
		t.Errorf("extract: %v", err)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if whole == 0 || whole == size {
		t.Fatalf("%d bytes in chunks of %d show nothing", size, a.transfer.ChunkSize)
	}
	if got := receive(t, s, a, os.Geteuid()).Need().Offset; got != whole {
		t.Errorf("the next upload begins at %d, want %d", got, whole)
	}
}
