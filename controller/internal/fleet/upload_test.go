package fleet

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// newArchive makes a release in miniature, of some 256 KB, believed by a pin.
func newArchive(t *testing.T) *release.Archive {
	t.Helper()
	var program bytes.Buffer
	h := elf.Header64{Type: 2, Machine: uint16(elf.EM_X86_64), Version: 1}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	binary.Write(&program, binary.LittleEndian, h)
	noise := make([]byte, 256<<10)
	rand.Read(noise)

	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range []struct {
		name    string
		mode    int64
		content []byte
	}{
		{"VERSION", 0o644, []byte("go1.26.8\n")},
		{"bin/go", 0o755, program.Bytes()},
		{"bin/gofmt", 0o755, program.Bytes()},
		{"pkg/tool/linux_amd64/asm", 0o755, program.Bytes()},
		{"pkg/tool/linux_amd64/compile", 0o755, program.Bytes()},
		{"pkg/tool/linux_amd64/link", 0o755, program.Bytes()},
		{"src/cmd/go/main.go", 0o644, []byte("package main\n")},
		{"src/runtime/noise.go", 0o644, noise},
	} {
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "go/" + f.name, Mode: f.mode, Size: int64(len(f.content))}))
		_, err := w.Write(f.content)
		must(t, err)
	}
	must(t, w.Close())
	must(t, z.Close())
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "go1.26.8.linux-amd64.tar.gz"), b.Bytes(), 0o644))
	sum := sha256.Sum256(b.Bytes())
	store, err := release.NewStore(release.Options{
		Location: dir, CacheDir: filepath.Join(t.TempDir(), "cache"),
		Pins: map[spec.Platform]string{amd64: hex.EncodeToString(sum[:])},
	})
	must(t, err)
	t.Cleanup(func() { store.Close() })
	a, err := store.Open(context.Background(), "1.26.8", amd64)
	must(t, err)
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receiver is an agent's side of an upload, which begins at offset.
func receiver(offset int64, got *bytes.Buffer) script {
	return func(a *fakeAgent) {
		a.out.Write(wire.Event{Want: true})
		var c wire.Command
		if a.in.Read(&c) != nil || c.Send == nil {
			return
		}
		size := c.Send.Size
		a.out.Write(wire.Event{Need: &wire.Need{Path: "/staging/archive", Offset: offset}})
		for have := offset; have < size; {
			var c wire.Command
			if a.in.Read(&c) != nil || c.Stop {
				return
			}
			if c.Have != nil {
				have = *c.Have
			}
			if c.Data != nil {
				n, err := io.CopyN(got, a.in.Raw(), *c.Data)
				if have += n; err != nil {
					return
				}
			}
		}
		a.report(wire.Report{Status: wire.Changed})
	}
}

// withUpload gives a host the archive and its connection an Upload.
func withUpload(h *Host, a *release.Archive, upload func(ctx context.Context, src io.ReaderAt, offset, size int64, contiguous func(int64)) error) *Host {
	h.Offers = map[spec.Platform]Offer{amd64: {Archive: a}}
	connect := h.Connect
	h.Connect = func(ctx context.Context) (Conn, error) {
		c, err := connect(ctx)
		c.(*fakeConn).agent.upload = upload
		return c, err
	}
	return h
}

// write is an Upload into a buffer.
func write(to *bytes.Buffer) func(context.Context, io.ReaderAt, int64, int64, func(int64)) error {
	return func(_ context.Context, src io.ReaderAt, offset, size int64, contiguous func(int64)) error {
		if _, err := io.Copy(to, io.NewSectionReader(src, offset, size-offset)); err != nil {
			return err
		}
		contiguous(size)
		return nil
	}
}

func fileOf(t *testing.T, a *release.Archive) []byte {
	t.Helper()
	b, err := os.ReadFile(a.Path())
	must(t, err)
	return b
}

func TestUploadGoesOnWhereTheHostStands(t *testing.T) {
	a := newArchive(t)
	for _, offset := range []int64{0, 4096, a.Size() - 1} {
		var got bytes.Buffer
		h := withUpload(fakeHost("a", receiver(offset, nil)), a, write(&got))
		out := Run(context.Background(), []*Host{h}, options())
		if r := out.Results[0]; r.Status != wire.Changed {
			t.Fatalf("offset %d: %+v", offset, r.Report)
		}
		if !bytes.Equal(got.Bytes(), fileOf(t, a)[offset:]) {
			t.Errorf("offset %d: %d bytes came, not the rest of the archive", offset, got.Len())
		}
	}
}

func TestWithoutSFTPBytesComeThroughStdin(t *testing.T) {
	a := newArchive(t)
	const cut = 100_000 // how far SFTP came before it was refused
	var sftp, stdin bytes.Buffer
	h := withUpload(fakeHost("a", receiver(0, &stdin)), a,
		func(_ context.Context, src io.ReaderAt, _, _ int64, contiguous func(int64)) error {
			io.Copy(&sftp, io.NewSectionReader(src, 0, cut))
			contiguous(cut)
			return fmt.Errorf("%w: subsystem refused", ErrNoUpload)
		})
	out := Run(context.Background(), []*Host{h}, options())
	if r := out.Results[0]; r.Status != wire.Changed {
		t.Fatalf("%+v", r.Report)
	}
	if got := append(sftp.Bytes(), stdin.Bytes()...); !bytes.Equal(got, fileOf(t, a)) {
		t.Errorf("%d bytes over SFTP and %d through stdin are not the archive", sftp.Len(), stdin.Len())
	}
}

func TestFailedUploadIsTheHostsError(t *testing.T) {
	a := newArchive(t)
	broken := errors.New("connection reset")
	h := withUpload(fakeHost("a", receiver(0, nil)), a,
		func(context.Context, io.ReaderAt, int64, int64, func(int64)) error {
			return wire.NewError(wire.KindTransfer, broken, "")
		})
	out := Run(context.Background(), []*Host{h}, options())
	if e := out.Results[0].Error; e == nil || e.Kind != wire.KindTransfer {
		t.Errorf("%+v", out.Results[0].Report)
	}
}

func TestAgentKnowsWhyAnUploadFailed(t *testing.T) {
	a := newArchive(t)
	h := withUpload(fakeHost("a", func(a *fakeAgent) {
		a.out.Write(wire.Event{Want: true})
		var c wire.Command
		a.in.Read(&c)
		a.out.Write(wire.Event{Need: &wire.Need{}})
		for !c.Stop {
			c = wire.Command{}
			if a.in.Read(&c) != nil {
				return
			}
		}
		a.report(wire.Report{Status: wire.Failed, Error: &wire.Error{Kind: wire.KindNoSpace}})
	}), a, func(context.Context, io.ReaderAt, int64, int64, func(int64)) error {
		return wire.NewError(wire.KindTransfer, errors.New("sftp: failure"), "")
	})
	out := Run(context.Background(), []*Host{h}, options())
	if e := out.Results[0].Error; e == nil || e.Kind != wire.KindNoSpace {
		t.Errorf("%+v", out.Results[0].Report)
	}
}

func TestUploadsAreBoundedApartFromForks(t *testing.T) {
	a := newArchive(t)
	var now, most atomic.Int32
	var hosts []*Host
	for i := range 8 {
		hosts = append(hosts, withUpload(fakeHost(fmt.Sprint(i), receiver(0, nil)), a,
			func(ctx context.Context, src io.ReaderAt, offset, size int64, contiguous func(int64)) error {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				defer now.Add(-1)
				return write(new(bytes.Buffer))(ctx, src, offset, size, contiguous)
			}))
	}
	o := options()
	o.Forks, o.Uploads = 8, 2
	out := Run(context.Background(), hosts, o)
	if got := out.Count(wire.Changed); got != 8 {
		t.Errorf("%d hosts changed: %+v", got, out.Results[0].Report)
	}
	if got := most.Load(); got > 2 {
		t.Errorf("%d uploads at once, want at most 2", got)
	}
}

// What an earlier run brought whole is not opened again: the agent goes on at
// once, and the file may be gone by then.
func TestWholeUploadIsNotSentAgain(t *testing.T) {
	a := newArchive(t)
	h := withUpload(fakeHost("a", receiver(a.Size(), nil)), a, func(context.Context, io.ReaderAt, int64, int64, func(int64)) error {
		t.Error("an upload was begun")
		return ErrNoUpload
	})
	if r := Run(context.Background(), []*Host{h}, options()).Results[0]; r.Status != wire.Changed || r.Error != nil {
		t.Errorf("%+v", r.Report)
	}
}

// An agent that succeeded had all it needs, however the upload's channel ended.
func TestSuccessStandsAboveAFailedUpload(t *testing.T) {
	a := newArchive(t)
	h := withUpload(fakeHost("a", receiver(0, nil)), a, func(_ context.Context, _ io.ReaderAt, _, size int64, contiguous func(int64)) error {
		contiguous(size)
		return io.EOF
	})
	if r := Run(context.Background(), []*Host{h}, options()).Results[0]; r.Status != wire.Changed || r.Error != nil {
		t.Errorf("%+v", r.Report)
	}
}
