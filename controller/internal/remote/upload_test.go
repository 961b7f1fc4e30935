package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// put makes an empty file of a user, as the agent does.
func (s *sshd) put(user, content string) string {
	s.t.Helper()
	file := filepath.Join(s.home, user, "upload")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.inside("chown " + user + " " + file)
	return file
}

func TestUploadGoesOn(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	c := s.dial(s.target("guest"))
	content := randomBytes(1<<20 + 1)
	dst := s.put("guest", string(content[:100_000])+"and a tail that is wrong")
	var last int64
	report := func(n int64) { last = n }
	size := int64(len(content))
	if err := c.Upload(testContext(t), bytes.NewReader(content), 100_000, size, dst, report); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dst); err != nil || !bytes.Equal(got, content) || last != size {
		t.Errorf("%d bytes arrived, %d reported, %v", len(got), last, err)
	}
	// Nothing left to send.
	last = 0
	if err := c.Upload(testContext(t), bytes.NewReader(content), size, size, dst, report); err != nil || last != size {
		t.Errorf("reported %d, %v", last, err)
	}
	// It is opened, not made.
	err := c.Upload(testContext(t), bytes.NewReader(content), 0, size, dst+"-other", report)
	if !errors.Is(err, ErrNoSFTP) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := os.Stat(dst + "-other"); err == nil {
		t.Error("the file was created")
	}
	wantKind(t, c.Upload(testContext(t), bytes.NewReader(nil), 5, 3, dst, report), wire.KindInternal)
	err = c.Upload(testContext(t), bytes.NewReader(content[:1000]), 0, size, dst, report)
	wantKind(t, err, wire.KindTransfer, "read the archive")
}

func TestNoSFTP(t *testing.T) {
	for name, config := range map[string]string{
		"off":               "Subsystem other /bin/true",
		"program missing":   "Subsystem sftp /nowhere/sftp-server",
		"ends at once":      "Subsystem sftp /bin/false",
		"prints first":      "Subsystem sftp /bin/echo welcome",
		"chroot":            "Subsystem sftp internal-sftp -d /\nMatch User guest\nForceCommand internal-sftp",
		"read-only":         "Subsystem sftp internal-sftp -R",
		"another directory": "Subsystem sftp internal-sftp -P open",
	} {
		t.Run(name, func(t *testing.T) {
			s := startSSHD(t, sshdOptions{config: config})
			dst := s.put("guest", "")
			if name == "chroot" {
				dst = "/nowhere/in/the/chroot"
			}
			content := randomBytes(1000)
			err := s.dial(s.target("guest")).Upload(testContext(t), bytes.NewReader(content), 0, 1000, dst, func(int64) {
				t.Error("something was reported")
			})
			if !errors.Is(err, ErrNoSFTP) {
				t.Errorf("%T %v", err, err)
			}
		})
	}
}

// A server behind OpenSSH that takes 32 KiB at most ends a session that sends more.
func TestUploadFallsBack(t *testing.T) {
	const server = "/usr/local/bin/small-sftp"
	s := startSSHD(t, sshdOptions{config: "Subsystem sftp " + server})
	dir := s.dir + "/small"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	buildProgram(t, "./testdata/sftp", dir+"/sftp")
	s.inside("cp " + dir + "/sftp " + server)
	dst := s.put("guest", "")
	content := randomBytes(2 << 20)
	var last int64
	err := s.dial(s.target("guest")).Upload(testContext(t), bytes.NewReader(content), 0, int64(len(content)), dst, func(n int64) { last = n })
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dst); err != nil || !bytes.Equal(got, content) || last != int64(len(content)) {
		t.Errorf("%d bytes arrived, %d reported, %v", len(got), last, err)
	}
}

// slowReader lets a test act when a position is read.
type slowReader struct {
	io.ReaderAt
	at   int64
	then func()
	done atomic.Bool
}

func (r *slowReader) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.at && r.done.CompareAndSwap(false, true) {
		r.then()
	}
	return r.ReaderAt.ReadAt(p, off)
}

func TestUploadBreaks(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	content := randomBytes(16 << 20)
	size := int64(len(content))
	for name, c := range map[string]struct {
		break_ func(*Conn, context.CancelFunc)
		kinds  []wire.Kind
	}{
		"cancelled": {func(_ *Conn, cancel context.CancelFunc) { cancel() }, []wire.Kind{wire.KindInterrupted}},
		// Either the upload or the connection notices first.
		"connection lost": {func(c *Conn, _ context.CancelFunc) { c.via.(*sshTransport).client.Close() },
			[]wire.Kind{wire.KindTransfer, wire.KindUnreachable}},
	} {
		t.Run(name, func(t *testing.T) {
			dst := s.put("guest", "")
			conn := s.dial(s.target("guest"))
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			var last atomic.Int64
			src := &slowReader{ReaderAt: bytes.NewReader(content), at: size / 2, then: func() { c.break_(conn, cancel) }}
			begun := time.Now()
			err := conn.Upload(ctx, src, 0, size, dst, func(n int64) { last.Store(n) })
			if w := wire.AsError(err, "none"); !slices.Contains(c.kinds, w.Kind) || !w.Retryable {
				t.Errorf("kind %s, retryable %t, want one of %s that is: %v", w.Kind, w.Retryable, c.kinds, err)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			// What was reported is there.
			got, err := os.ReadFile(dst)
			if err != nil {
				t.Fatal(err)
			}
			if n := last.Load(); int64(len(got)) < n || !bytes.Equal(got[:n], content[:n]) {
				t.Errorf("%d bytes are reported, %d are there and may differ", n, len(got))
			}
		})
	}
}
