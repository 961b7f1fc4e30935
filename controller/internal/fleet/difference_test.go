package fleet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// lacker is an agent's side of an upload of what it lacks, as told by choose.
// It gives what was offered to got.
func lacker(choose func(m tree.Manifest) [][2]int, got *wire.Transfer) script {
	return func(a *fakeAgent) {
		a.out.Write(wire.Event{Compare: true})
		var c wire.Command
		if a.in.Read(&c) != nil || c.Manifest == nil {
			return
		}
		m, err := tree.Unpack(c.Manifest)
		if err != nil {
			return
		}
		a.out.Write(wire.Event{Lacks: choose(m)})
		for c.Send == nil {
			c = wire.Command{}
			if a.in.Read(&c) != nil {
				return
			}
			if c.Stop {
				a.report(wire.Report{Status: wire.Failed, Error: &wire.Error{Kind: wire.KindStopped}})
				return
			}
		}
		*got = *c.Send
		a.out.Write(wire.Event{Need: &wire.Need{Path: "/staging/archive"}})
		for have := int64(0); have < got.Size; {
			c = wire.Command{}
			if a.in.Read(&c) != nil {
				return
			}
			if c.Have != nil {
				have = *c.Have
			}
		}
		a.report(wire.Report{Status: wire.Changed})
	}
}

// find gives the ranges of one file.
func find(path string) func(tree.Manifest) [][2]int {
	return func(m tree.Manifest) [][2]int {
		for i := range m {
			if m[i].Path == path {
				return [][2]int{{i, 1}}
			}
		}
		return nil
	}
}

func TestOnlyWhatLacksIsSent(t *testing.T) {
	a := newArchive(t)
	var offer wire.Transfer
	var got bytes.Buffer
	h := withUpload(fakeHost("a", lacker(find("src/cmd/go/main.go"), &offer)), a, write(&got))
	out := Run(context.Background(), []*Host{h}, options())
	if r := out.Results[0]; r.Status != wire.Changed {
		t.Fatalf("%+v", r.Report)
	}
	if !offer.Difference || offer.Size != int64(got.Len()) {
		t.Fatalf("offered %+v, sent %d bytes", offer, got.Len())
	}
	z, err := tree.Decompress(&got, wire.Zstd)
	must(t, err)
	defer z.Close()
	if content, err := io.ReadAll(z); err != nil || string(content) != "package main\n" {
		t.Errorf("sent %q, %v", content, err)
	}
}

func TestWholeArchiveWhereMostLacks(t *testing.T) {
	a := newArchive(t)
	var offer wire.Transfer
	var got bytes.Buffer
	h := withUpload(fakeHost("a", lacker(find("src/runtime/noise.go"), &offer)), a, write(&got))
	out := Run(context.Background(), []*Host{h}, options())
	if r := out.Results[0]; r.Status != wire.Changed {
		t.Fatalf("%+v", r.Report)
	}
	if offer.Difference || len(offer.Manifest) == 0 || !bytes.Equal(got.Bytes(), fileOf(t, a)) {
		t.Errorf("offered %d bytes, difference %t", offer.Size, offer.Difference)
	}
}

func TestWhatNoArchiveHasIsRefused(t *testing.T) {
	a := newArchive(t)
	for _, bad := range [][][2]int{{{0, 1 << 40}}, {{-1, 1}}, {{5, 1}, {4, 1}}} {
		var offer wire.Transfer
		h := withUpload(fakeHost("a", lacker(func(tree.Manifest) [][2]int { return bad }, &offer)), a,
			func(context.Context, io.ReaderAt, int64, int64, func(int64)) error {
				return errors.New("nothing may be sent")
			})
		out := Run(context.Background(), []*Host{h}, options())
		if e := out.Results[0].Error; e == nil || e.Kind != wire.KindProtocol {
			t.Errorf("%v: %+v", bad, out.Results[0].Report)
		}
	}
}

func TestWholeIsSaidInTheTask(t *testing.T) {
	for _, whole := range []bool{false, true} {
		var task wire.Task
		h := fakeHost("a", func(a *fakeAgent) {
			task = a.task
			a.report(wire.Report{Status: wire.OK})
		})
		o := options()
		o.Whole = whole
		Run(context.Background(), []*Host{h}, o)
		if task.Compare == whole {
			t.Errorf("whole %t: the task says compare %t", whole, task.Compare)
		}
	}
}

// TestWhatIsNeededIsWhatWasOffered has an agent ask for the next part while the
// one before is still on its way: each need means the offer that it answers.
func TestWhatIsNeededIsWhatWasOffered(t *testing.T) {
	a := newArchive(t)
	asked := make(chan struct{}) // the agent has all its offers
	var sizes, sent []int64
	h := withUpload(fakeHost("a", func(a *fakeAgent) {
		defer close(asked)
		offered := func() (c wire.Command) {
			for c.Send == nil && a.in.Read(&c) == nil && c.Send == nil {
				c = wire.Command{}
			}
			return c
		}
		need := func(e wire.Event) {
			a.out.Write(e)
			sizes = append(sizes, offered().Send.Size)
			a.out.Write(wire.Event{Need: &wire.Need{Path: "/staging/archive"}})
		}
		need(wire.Event{Want: true})
		need(wire.Event{Lacks: [][2]int{{0, 1}}})
		a.out.Write(wire.Event{Want: true})
		offered()
		asked <- struct{}{}
		<-asked
		a.report(wire.Report{Status: wire.Changed})
	}), a, func(_ context.Context, _ io.ReaderAt, _, size int64, contiguous func(int64)) error {
		if sent = append(sent, size); len(sent) == 1 {
			<-asked
		} else {
			asked <- struct{}{}
		}
		return nil
	})
	out := Run(context.Background(), []*Host{h}, options())
	if r := out.Results[0]; r.Status != wire.Changed || len(sent) != 2 || sent[0] != sizes[0] || sent[1] != sizes[1] || sizes[0] == sizes[1] {
		t.Errorf("sent %d, offered %d: %+v", sent, sizes, r.Report)
	}
}
