package remote

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// Only so many are at one sshd at once; who has waited comes when one has gone.
func TestTurnsAtOneSSHD(t *testing.T) {
	var a admission
	const most = 3
	var leave []func()
	enter := func(ctx context.Context, key string) error {
		l, err := a.sshd(ctx, key, most)
		if err == nil {
			leave = append(leave, l)
		}
		return err
	}
	for _, key := range []string{"a", "a", "a", "b"} {
		if err := enter(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := enter(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a fourth came in: %v", err)
	}
	came := make(chan error)
	go func() { came <- enter(t.Context(), "a") }()
	leave[0]()
	if err := <-came; err != nil {
		t.Error(err)
	}
	for _, l := range leave[1:] {
		l()
	}
	if len(a.at) != 0 {
		t.Errorf("%d gates are kept", len(a.at))
	}
}

// Forty names of one real sshd dial at once, and all log in.
func TestManyNamesOfOneSSHD(t *testing.T) {
	s := startSSHD(t, sshdOptions{config: "MaxStartups 10:30:100"})
	d := knowing(t)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			c, err := d.Dial(testContext(t), s.target("guest"))
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
}

// A jump host gets another connection when the first has all the hosts that it
// can bear, and one that has become free is taken again.
func TestSeatsBehindJumpHost(t *testing.T) {
	s := startSSHD(t, sshdOptions{config: "MaxStartups 200"})
	door := newProxy(t, s.addr(), nil)
	d := knowing(t)
	d.ForwardsEach = 4
	d.AgentSocket = agentWith(t, filepath.Join(keys(t), "user_ed25519"))
	target := s.target("guest")
	target.Args = []string{"-J", fmt.Sprintf("admin@127.0.0.1:%d", door.port())}
	dial := func(n int) []*Conn {
		conns := make([]*Conn, n)
		var wg sync.WaitGroup
		for i := range conns {
			wg.Go(func() {
				var err error
				if conns[i], err = d.Dial(testContext(t), target); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
		return conns
	}
	conns := dial(10)
	if n := door.accepted.Load(); n != 3 {
		t.Fatalf("%d connections to the jump host for 10 hosts, 4 each", n)
	}
	for _, c := range conns[:6] {
		c.Close()
	}
	dial(6)
	if n := door.accepted.Load(); n != 3 {
		t.Errorf("%d connections to the jump host after 6 of 10 hosts were done and 6 came", n)
	}
	// What never got through gives its seat back as well.
	refused := target
	refused.Host, refused.Port = "127.0.0.1", freePort(t)
	none := -1
	refused.Retries = &none
	for range 5 {
		if _, err := d.Dial(testContext(t), refused); err == nil {
			t.Fatal("there is nobody on that port")
		}
	}
	dial(2)
	if n := door.accepted.Load(); n != 3 {
		t.Errorf("%d connections to the jump host: seats were lost", n)
	}
}
