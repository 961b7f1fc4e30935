package fleet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// fakeSeed is a seed whose agent is a script; connected counts its logins.
func fakeSeed(name string, do script) (seed *Seed, connected func() int) {
	var mu sync.Mutex
	n := 0
	seed = &Seed{Name: name, Spec: &spec.Spec{}, Connect: func(context.Context) (Conn, []netip.Addr, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		return &fakeConn{do: do, agent: &fakeAgent{}, closed: make(chan struct{})}, []netip.Addr{netip.MustParseAddr("192.0.2.7")}, nil
	}}
	return seed, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// serving is a seed that takes what it is sent until it is told to stop. It
// closes full when it has size bytes.
func serving(t *testing.T, got *bytes.Buffer, size int64, full chan struct{}) script {
	return func(a *fakeAgent) {
		if a.task.Action != wire.Serve || a.task.Seed == nil || len(a.task.Seed.Key) != seedKeySize || a.task.Release != nil {
			t.Errorf("the seed's task is %+v", a.task)
		}
		a.out.Write(wire.Event{Serving: &wire.Serving{Addresses: [][]byte{{10, 0, 0, 1}, {192, 0, 2, 7}}, Port: 7022}})
		for {
			var c wire.Command
			if a.in.Read(&c) != nil || c.Stop {
				return
			}
			if c.Send != nil {
				a.out.Write(wire.Event{Need: &wire.Need{}})
			}
			if c.Data != nil {
				if _, err := io.CopyN(got, a.in.Raw(), *c.Data); err != nil {
					return
				}
				if int64(got.Len()) == size {
					close(full)
				}
			}
		}
	}
}

// fetching is a host that says it got everything from the seed.
func fetching(t *testing.T, seen func(*wire.Source)) script {
	return func(a *fakeAgent) {
		a.out.Write(wire.Event{Want: true})
		var c wire.Command
		if a.in.Read(&c) != nil || c.Send == nil || c.Send.From == nil {
			t.Errorf("no seed was offered: %+v", c.Send)
			return
		}
		seen(c.Send.From)
		for n := min(c.Send.ChunkSize, c.Send.Size); ; n = min(n+c.Send.ChunkSize, c.Send.Size) {
			a.out.Write(wire.Event{Fetched: n})
			if n == c.Send.Size {
				break
			}
		}
		a.report(wire.Report{Status: wire.Changed})
	}
}

// swallow is an Upload that goes nowhere.
func swallow(_ context.Context, _ io.ReaderAt, _, size int64, contiguous func(int64)) error {
	contiguous(size)
	return nil
}

func onSite(h *Host, s *Seed) *Host {
	h.Seed = s
	return h
}

func TestSeedGetsTheArchiveOnce(t *testing.T) {
	a := newArchive(t)
	transfer, err := a.Transfer(t.Context(), wire.Gzip, nil)
	must(t, err)
	var got bytes.Buffer
	full := make(chan struct{})
	seed, connected := fakeSeed("s", serving(t, &got, transfer.Size, full))
	var mu sync.Mutex
	var keys []string
	addresses := map[string]int{}
	note := func(from *wire.Source) {
		<-full
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, string(from.Key))
		addresses[string(from.Addresses[0])]++
		if from.Port != 7022 {
			t.Errorf("hosts are told port %d", from.Port)
		}
	}
	refused := func(context.Context, io.ReaderAt, int64, int64, func(int64)) error {
		t.Error("the controller sent something to a host itself")
		return errors.New("no")
	}
	var hosts []*Host
	for _, name := range []string{"s", "a", "b", "c"} {
		hosts = append(hosts, onSite(withUpload(fakeHost(name, fetching(t, note)), a, refused), seed))
	}
	o := options()
	o.Encoding, o.Forks = wire.Gzip, 2
	o.Rollout.Batches = []int{1, 3} // it is the same seed in both
	out := Run(t.Context(), hosts, o)
	for _, r := range out.Results {
		if r.Status != wire.Changed || r.Sent != 0 || r.Seeded != transfer.Size || len(r.Warnings) > 0 {
			t.Errorf("%s is %s, %d bytes from here, %d from the seed, %v, %v", r.Host, r.Status, r.Sent, r.Seeded, r.Warnings, r.Error)
		}
	}
	want := SeedResult{Seed: "s", Sent: transfer.Size, Gave: 4 * transfer.Size, Hosts: 4}
	if len(out.Seeds) != 1 || out.Seeds[0] != want {
		t.Errorf("seeds are %+v, want %+v", out.Seeds, want)
	}
	content, err := io.ReadAll(io.NewSectionReader(transfer, 0, transfer.Size))
	must(t, err)
	if !bytes.Equal(got.Bytes(), content) || connected() != 1 {
		t.Errorf("the seed got %d bytes over %d logins, want the %d of the archive once", got.Len(), connected(), len(content))
	}
	// The seed itself goes over loopback; others try what the controller knows first.
	if addresses[string([]byte{127, 0, 0, 1})] != 1 || addresses[string([]byte{192, 0, 2, 7})] != 3 || len(addresses) != 2 {
		t.Errorf("hosts were told addresses %v", addresses)
	}
	if keys[0] != keys[3] || keys[0] == strings.Repeat("\x00", seedKeySize) {
		t.Error("the key is not one random key of the run")
	}
}

// A seed that fails, in whatever way, costs its hosts nothing but a warning.
func TestHostsFallBackToTheController(t *testing.T) {
	a := newArchive(t)
	transfer, err := a.Transfer(t.Context(), wire.Gzip, nil)
	must(t, err)
	for _, tt := range []struct {
		name string
		seed script
		why  string
		host script
	}{
		{"it cannot listen", func(a *fakeAgent) {
			a.report(wire.Report{Status: wire.Failed, Error: &wire.Error{Kind: wire.KindHost, Message: "port 7022 is taken"}})
		}, "port 7022 is taken", receiver(0, nil)},
		{"its agent dies", func(*fakeAgent) {}, "its agent ended", receiver(0, nil)},
		{"it has no room", func(a *fakeAgent) {
			a.out.Write(wire.Event{Serving: &wire.Serving{Port: 1}})
			var c wire.Command
			a.in.Read(&c)
			a.report(wire.Report{Error: &wire.Error{Kind: wire.KindNoSpace, Message: "no place"}})
		}, "no place", receiver(0, nil)},
		{"the host does not reach it", serving(t, &bytes.Buffer{}, 0, nil), "no route to host", lost(transfer.Size)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seed, connected := fakeSeed("s", tt.seed)
			out := Run(t.Context(), []*Host{
				onSite(withUpload(fakeHost("a", tt.host), a, swallow), seed),
				onSite(withUpload(fakeHost("b", tt.host), a, swallow), seed),
			}, func() Options { o := options(); o.Encoding = wire.Gzip; return o }())
			for _, r := range out.Results {
				if r.Status != wire.Changed || r.Error != nil || r.Sent != transfer.Size {
					t.Errorf("%s is %s with %d bytes from here, %v", r.Host, r.Status, r.Sent, r.Error)
				}
				if text := strings.Join(r.Warnings, "\n"); !strings.Contains(text, "seed s") || !strings.Contains(text, tt.why) {
					t.Errorf("%s warns %q, without the seed's name or %q", r.Host, text, tt.why)
				}
			}
			if connected() != 1 {
				t.Errorf("the seed was dialled %d times", connected())
			}
		})
	}
}

// lost is a host that gets nothing from its seed and all from the controller.
func lost(size int64) script {
	return func(a *fakeAgent) {
		a.out.Write(wire.Event{Want: true})
		var c wire.Command
		if a.in.Read(&c) != nil || c.Send == nil {
			return
		}
		a.out.Write(wire.Event{Need: &wire.Need{Path: "/staging/archive", Lost: "no route to host"}})
		for have := int64(0); have < size; {
			var c wire.Command
			if a.in.Read(&c) != nil || c.Stop {
				return
			}
			if c.Have != nil {
				have = *c.Have
			}
		}
		a.report(wire.Report{Status: wire.Changed})
	}
}

// A seed that no host reaches is not tried by all of them, and one that some
// reach is not given up for those that don't.
func TestHopelessSeedIsGivenUp(t *testing.T) {
	a := newArchive(t)
	transfer, err := a.Transfer(t.Context(), wire.Gzip, nil)
	must(t, err)
	for _, reached := range []bool{false, true} {
		seed, _ := fakeSeed("s", serving(t, &bytes.Buffer{}, 0, nil))
		var hosts []*Host
		if reached {
			hosts = append(hosts, onSite(withUpload(fakeHost("first", fetching(t, func(*wire.Source) {})), a, swallow), seed))
		}
		var mu sync.Mutex
		offered := 0
		for range seedTries + 3 {
			hosts = append(hosts, onSite(withUpload(fakeHost("x", func(f *fakeAgent) {
				f.out.Write(wire.Event{Want: true})
				var c wire.Command
				if f.in.Read(&c) != nil || c.Send == nil {
					return
				}
				if c.Send.From != nil {
					mu.Lock()
					offered++
					mu.Unlock()
				}
				f.out.Write(wire.Event{Need: &wire.Need{Path: "/x", Offset: transfer.Size, Lost: "no answer"}})
				f.report(wire.Report{Status: wire.Changed})
			}), a, swallow), seed))
		}
		o := options()
		o.Encoding, o.Forks = wire.Gzip, 1
		out := Run(t.Context(), hosts, o)
		want := seedTries
		if reached {
			want = seedTries + 3
		}
		if offered != want || (out.Seeds[0].Lost == "") != reached {
			t.Errorf("reached %t: %d hosts were offered the seed, want %d; %+v", reached, offered, want, out.Seeds)
		}
	}
}
