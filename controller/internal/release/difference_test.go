package release

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// lacking names files of an archive as an agent does.
func lacking(t testing.TB, a *Archive, paths ...string) (tree.Manifest, [][2]int) {
	t.Helper()
	m, err := tree.Parse(a.Manifest())
	must(t, err)
	var files []int
	for _, p := range paths {
		i := slices.IndexFunc(m, func(e tree.Entry) bool { return e.Path == p })
		if i < 0 {
			t.Fatalf("the archive has no %s", p)
		}
		files = append(files, i)
	}
	slices.Sort(files)
	return m, m.Ranges(files)
}

func TestDifferenceHoldsTheFilesInTheManifestsOrder(t *testing.T) {
	for _, zstd := range []bool{false, true} { // read from either form
		a, err := newKnown(t).open(zstd)
		must(t, err)
		m, lacks := lacking(t, a, "src/runtime/big.go", "bin/go", "go.env", "VERSION")
		x, err := a.Difference(t.Context(), lacks)
		must(t, err)
		if !x.Difference || x.Encoding != wire.Zstd || len(x.Manifest) != 0 {
			t.Errorf("what travels is %+v", x.Transfer)
		}
		files, err := m.Select(lacks)
		must(t, err)
		z, err := tree.Decompress(io.NewSectionReader(x, 0, x.Size), wire.Zstd)
		must(t, err)
		var got []string
		must(t, tree.ReadDifference(z, m, files, func(e tree.Entry, _ io.Reader) error {
			got = append(got, e.Path)
			return nil
		}))
		if want := []string{"VERSION", "bin/go", "go.env", "src/runtime/big.go"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		must(t, x.Close())
	}
}

// An upload resumes only what has the same sum, so a difference must be the
// same each time it is made.
func TestDifferenceIsMadeOnceAndAlwaysTheSame(t *testing.T) {
	k := newKnown(t)
	a, err := k.open(false)
	must(t, err)
	_, lacks := lacking(t, a, "bin/go", "src/runtime/big.go")
	var wg sync.WaitGroup
	sums := make([]string, 4)
	for i := range sums {
		wg.Go(func() {
			if x, err := a.Difference(t.Context(), lacks); err == nil {
				sums[i] = x.SHA256
				x.Close()
			}
		})
	}
	wg.Wait()
	forms, err := filepath.Glob(filepath.Join(a.cache.entry(a.SHA256()), differencePrefix+"*.json"))
	must(t, err)
	if len(forms) != 1 || sums[0] == "" || len(slices.Compact(sums)) != 1 {
		t.Fatalf("made %q with sums %q", forms, sums)
	}
	must(t, os.Remove(forms[0]))
	x, err := a.Difference(t.Context(), lacks)
	must(t, err)
	defer x.Close()
	if x.SHA256 != sums[0] {
		t.Errorf("made again it is %s, not %s", x.SHA256, sums[0])
	}
}

func TestOldDifferencesGo(t *testing.T) {
	a, err := newKnown(t).open(false)
	must(t, err)
	m, _ := lacking(t, a)
	for i := range m {
		if m[i].Dir {
			continue
		}
		x, err := a.Difference(t.Context(), [][2]int{{i, 1}})
		must(t, err)
		must(t, x.Close())
	}
	kept, err := filepath.Glob(filepath.Join(a.cache.entry(a.SHA256()), differencePrefix+"*"))
	must(t, err)
	if len(kept) != 2*keepDifferences {
		t.Errorf("%d files are kept: %q", len(kept), kept)
	}
}

func TestWhatIsWorthADifference(t *testing.T) {
	a, err := newKnown(t).open(false)
	must(t, err)
	m, some := lacking(t, a, "bin/go", "VERSION")
	for _, c := range []struct {
		lacks [][2]int
		worth bool
	}{{some, true}, {[][2]int{{0, len(m)}}, false}} {
		if worth, err := a.WorthDifference(c.lacks); err != nil || worth != c.worth {
			t.Errorf("%v: %t, %v", c.lacks, worth, err)
		}
	}
	for _, bad := range [][][2]int{nil, {{-1, 1}}, {{0, 0}}, {{0, len(m) + 1}}, {{len(m), 1}}, {{2, 1}, {1, 1}}, {{0, 3}, {2, 1}}, {{1 << 62, 1 << 62}}} {
		if _, err := a.WorthDifference(bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
		if _, err := a.Difference(t.Context(), bad); err == nil {
			t.Errorf("%v is made", bad)
		}
	}
}

func TestAChangedArchiveGivesNoDifference(t *testing.T) {
	k := newKnown(t)
	a, err := k.open(false)
	must(t, err)
	_, lacks := lacking(t, a, "src/runtime/big.go")
	b, err := os.ReadFile(a.Path())
	must(t, err)
	b[len(b)/2] ^= 0x55
	must(t, os.WriteFile(a.Path(), b, 0o644))
	if x, err := a.Difference(t.Context(), lacks); err == nil {
		t.Errorf("got %+v", x.Transfer)
	} else if refused := (*RefusedError)(nil); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
}

func TestDifferenceEndsWithItsContext(t *testing.T) {
	a, err := newKnown(t).open(false)
	must(t, err)
	_, lacks := lacking(t, a, "src/runtime/big.go")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Difference(ctx, lacks); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
