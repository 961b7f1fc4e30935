package remote

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/gofleet/gofleet/agent/wire"
)

// The main way: dial with a key, start the agent as root, upload a file.
func TestMainWay(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	target := s.target("admin")
	target.Become = &Become{}
	c := s.dial(target)
	session, err := c.StartAgent(testContext(t), launchOf(t))
	if err != nil {
		t.Fatal(err)
	}
	h := session.Hello
	if h.UID != 0 || h.LoginUID != 6001 || h.Cached || h.Protocol != wire.Protocol || h.Agent != "test" {
		t.Errorf("hello is %+v", h)
	}
	if p, ok := session.Probe.Platform(); !ok || p != h.Platform || session.Probe.Libc == "" {
		t.Errorf("probe is %+v", session.Probe)
	}
	if got := ask(t, session, "hello there"); got != "hello there" {
		t.Errorf("the agent answers %q", got)
	}
	if left := s.inside("find /run /usr/local/lib -maxdepth 1 -name '.gofleet*'"); left != "" {
		t.Errorf("left on the host: %s", left)
	}

	content := make([]byte, 3<<20+12345)
	rand.Read(content)
	dst := filepath.Join(s.home, "admin", "upload")
	s.inside("touch " + dst + " && chown admin " + dst)
	var last int64
	report := func(n int64) {
		if n <= last {
			t.Errorf("contiguous goes from %d to %d", last, n)
		}
		last = n
	}
	if err := c.Upload(testContext(t), bytes.NewReader(content), 0, int64(len(content)), dst, report); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dst); err != nil || !bytes.Equal(got, content) || last != int64(len(content)) {
		t.Errorf("uploaded %d bytes, reported %d, error %v", len(got), last, err)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
}
