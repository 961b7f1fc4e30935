//go:build linux

package faults

import (
	"os"
	"testing"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
	"github.com/gofleet/gofleet/controller/internal/lab"
)

const chunk = 4 << 20 // of an archive: what is resumed whole

// TestCutAtBytes cuts the connection after so many bytes towards the host: in
// the handshake, in the agent, in the archive, near its end. The next run
// sends only what is missing.
func TestCutAtBytes(t *testing.T) {
	needHosts(t)
	t.Parallel()
	small, large := toolchain(t, "1.26.90"), toolchain(t, "1.27.1")
	at := []int64{1, 30, 1 << 10, 3 << 10, 8 << 10, 100 << 10, 1 << 20, chunk - 1, chunk + chunk/2, 2 * chunk, 2*chunk + chunk/2, large.Size - 1000, large.Size}
	hosts := named(len(at))
	hosts = append(hosts, lab.HostConfig{Name: "off", SFTP: lab.SFTPOff}, lab.HostConfig{Name: "chroot", SFTP: lab.SFTPChroot})
	at = append(at, 2*chunk+chunk/2, 2*chunk+chunk/2)
	w := world(t, hosts...)
	_, err := w.MustRun(t.Context(), rig.Want(small), "apply")
	check(t, err)
	proxies := proxiesOf(t, w)
	for i, h := range w.Hosts() {
		proxies[h.Name].CutAfter(at[i])
	}
	apply := []string{"apply", "--encoding", "gzip", "--uploads", "4"}
	o, err := w.Run(t.Context(), rig.Want(large), apply...)
	check(t, err)
	for i, h := range w.Hosts() {
		r := o.Of(h.Name)
		// Before the login it tries again, and comes through or is cut again.
		if cut := proxies[h.Name].Cuts() > 0; !cut || r.Error == nil || !r.Error.Retryable {
			t.Errorf("cut at %d: %s (cut: %t)", at[i], r, cut)
		}
		check(t, h.Gone(t.Context()))
		wantCurrent(t, h, small)
	}
	for _, p := range proxies {
		p.CutAfter(0)
	}
	wantWholeBy(t, w, rig.Want(large), large, apply)
	for i, h := range w.Hosts() {
		// Whole chunks that have arrived do not travel again. sshd drops what it
		// has not given to its SFTP server: a window of 2 MB, and some.
		had := max(0, at[i]-5<<19) / chunk * chunk
		if sent := proxies[h.Name].Sent(); sent > large.Size-had+(1<<20) {
			t.Errorf("cut at %d: %d bytes travelled again of %d", at[i], sent, large.Size)
		}
	}
}

// TestCorruptedHalf resumes an upload of which a byte was altered on the host,
// and one that was made longer: what is wrong travels again, and no more.
func TestCorruptedHalf(t *testing.T) {
	needHosts(t)
	t.Parallel()
	small, large := toolchain(t, "1.26.90"), toolchain(t, "1.27.1")
	w := world(t, lab.HostConfig{Name: "first"}, lab.HostConfig{Name: "second"}, lab.HostConfig{Name: "longer"}, lab.HostConfig{Name: "linked"})
	_, err := w.MustRun(t.Context(), rig.Want(small), "apply")
	check(t, err)
	proxies := proxiesOf(t, w)
	for _, p := range proxies {
		p.CutAfter(3 * chunk)
	}
	apply := []string{"apply", "--encoding", "gzip"}
	_, err = w.Run(t.Context(), rig.Want(large), apply...)
	check(t, err)
	expect := map[string]int64{"first": 0, "second": chunk, "longer": 2 * chunk, "linked": 0}
	for _, h := range w.Hosts() {
		check(t, h.Gone(t.Context()))
		path, size := h.Uploaded()
		if size < 2*chunk {
			t.Fatalf("%s: only %d bytes are there (%s)", h.Name, size, path)
		}
		switch h.Name {
		case "first":
			check(t, alter(path, 1000))
		case "second":
			check(t, alter(path, chunk+1000))
		case "longer":
			check(t, os.Truncate(path, large.Size+chunk))
		case "linked":
			check(t, os.Link(path, h.Path("/usr/local/lib/other")))
		}
		proxies[h.Name].CutAfter(0)
	}
	wantWholeBy(t, w, rig.Want(large), large, apply)
	for _, h := range w.Hosts() {
		want := large.Size - expect[h.Name]
		if sent := proxies[h.Name].Sent(); sent < want || sent > want+(1<<20) {
			t.Errorf("%s: %d bytes travelled again, want %d", h.Name, sent, want)
		}
	}
}

func alter(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := []byte{0}
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0]++
	_, err = f.WriteAt(b, at)
	return err
}

// TestDiskFull fills the disk in the middle of an extraction, and its inodes.
// Nothing is left of it, and with more room the next run succeeds.
func TestDiskFull(t *testing.T) {
	needHosts(t)
	t.Parallel()
	small, large := toolchain(t, "1.26.90"), toolchain(t, "1.27.1")
	w := world(t,
		lab.HostConfig{Name: "upload", LocalSize: 16 << 20},  // not the archive
		lab.HostConfig{Name: "extract", LocalSize: 30 << 20}, // the archive, and a part of its content
		lab.HostConfig{Name: "inodes", LocalSize: 200 << 20, LocalNodes: 300},
		lab.HostConfig{Name: "stdin", LocalSize: 16 << 20, SFTP: lab.SFTPOff})
	off := rig.Vars{"gofleet_preconditions": map[string]any{"disk": nil, "inodes": nil}}
	_, err := w.MustRun(t.Context(), rig.Want(small, off), "apply")
	check(t, err)
	o, err := w.Run(t.Context(), rig.Want(large, off), "apply")
	check(t, err)
	for _, h := range w.Hosts() {
		if r := o.Of(h.Name); r.Status != "failed" || !rig.IsKind(r, "no_space") {
			t.Errorf("disk full: %s", r)
		}
		wantCurrent(t, h, small)
		if err := h.Clean(); err != nil {
			t.Error(err)
		}
		_, err := h.Exec(t.Context(), "mount", "-o", "remount,size=200m,nr_inodes=100000", "/usr/local/lib")
		check(t, err)
	}
	wantWhole(t, w, rig.Want(large, off), large)
}
