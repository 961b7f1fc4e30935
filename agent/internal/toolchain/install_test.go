package toolchain

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/wire"
)

func TestInstallUpgradeRollbackRemove(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	one, two, three := pack(t, "1.1", smallTree("1.1")), pack(t, "1.2", smallTree("1.2")), pack(t, "1.3", smallTree("1.3"))

	st, err := s.Inspect(ctx, "1.1", false)
	if err != nil || st.Link.Kind != LinkNone || st.Ready() || st.Before != "" {
		t.Fatalf("empty host: %+v, %v", st, err)
	}
	mustApply(t, s, one)
	wantVersion(t, s, "1.1")
	wantClean(t, s)
	if to, _ := os.Readlink(s.Link); to != "lib/gofleet/go1.1" {
		t.Errorf("link says %q, want it relative", to)
	}
	before := listing(t, filepath.Dir(s.Link))
	mustApply(t, s, one)
	if after := listing(t, filepath.Dir(s.Link)); !slices.Equal(before, after) {
		t.Errorf("a second apply changed something:\n%s", strings.Join(after, "\n"))
	}

	mustApply(t, s, two)
	wantVersion(t, s, "1.2")
	st, err = s.Inspect(ctx, "1.2", true)
	if err != nil || !st.Ready() || st.Previous != "go1.1" || st.Before != "1.2" || len(st.Toolchains) != 2 {
		t.Fatalf("after upgrade: %+v, %v", st, err)
	}
	if st.Inodes != int64(two.release.Tree.Files+two.release.Tree.Dirs+1) || st.DiskBytes < two.release.Tree.Bytes {
		t.Errorf("takes %d bytes, %d inodes", st.DiskBytes, st.Inodes)
	}

	rec := mustLoad(t, s)
	rb, err := s.PlanRollback(st, "", rec)
	if err != nil || len(rb.Steps) != 1 || rb.Version != "1.1" || !rb.Managed {
		t.Fatalf("rollback: %+v, %v", rb, err)
	}
	if err := rb.Steps[0].Do(ctx); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, s, "1.1")
	if st, err = s.Inspect(ctx, "", false); err != nil || st.Previous != "" {
		t.Fatalf("after rollback: %+v, %v", st, err)
	}
	if rb, err = s.PlanRollback(st, "", rec); err != nil || len(rb.Steps) != 0 || rb.Version != "1.1" {
		t.Errorf("second rollback: %+v, %v", rb, err)
	}
	if _, err = s.PlanRollback(st, "1.9", rec); kindOf(err) != wire.KindNotInstalled {
		t.Errorf("rollback to what is not there: %v", err)
	}
	if rb, err = s.PlanRollback(st, "1.2", rec); err != nil || len(rb.Steps) != 1 {
		t.Fatalf("rollback --to: %+v, %v", rb, err)
	}
	if err := rb.Steps[0].Undo(); err != nil { // of a Do that did not run
		t.Error(err)
	}
	wantVersion(t, s, "1.1")

	if _, err := s.PlanRemove(st, "1.1"); kindOf(err) != wire.KindInUse {
		t.Errorf("remove of the current one: %v", err)
	}
	if _, err := s.PlanRemove(st, "1.7"); kindOf(err) != wire.KindNotInstalled {
		t.Errorf("remove of what is not there: %v", err)
	}
	mustApply(t, s, two)
	mustApply(t, s, three) // keeps one: the previous
	if st, err = s.Inspect(ctx, "1.3", false); err != nil || len(st.Toolchains) != 2 || st.Previous != "go1.2" {
		t.Fatalf("after the third: %+v, %v", st, err)
	}
	steps, err := s.PlanRemove(st, "1.2")
	if err != nil {
		t.Fatal(err)
	}
	if err := steps[0].Do(ctx); err != nil {
		t.Fatal(err)
	}
	if st, err = s.Inspect(ctx, "1.3", false); err != nil || len(st.Toolchains) != 1 || st.Previous != "" {
		t.Fatalf("after remove: %+v, %v", st, err)
	}
	wantVersion(t, s, "1.3")

	removeAll(t, s, st)
	if left := listing(t, filepath.Dir(s.Link)); len(left) != 2 { // the directory itself and lib
		t.Errorf("left after removing all:\n%s", strings.Join(left, "\n"))
	}
}

func removeAll(t *testing.T, s *Store, st *State) {
	t.Helper()
	steps, _, err := s.PlanRemoveAll(st, mustLoad(t, s))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if err := step.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func mustLoad(t testing.TB, s *Store) *record.Record {
	t.Helper()
	rec, err := record.Load(s.Root)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestPruneNeverTakesThePrevious(t *testing.T) {
	s := newStore(t)
	for _, v := range []string{"1.1", "1.2", "1.3"} {
		a := pack(t, v, smallTree(v))
		if err := install(t.Context(), s, a, Hooks{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Switch(t.Context(), "1.1", mustLoad(t, s)); err != nil {
		t.Fatal(err)
	}
	st, err := s.Inspect(t.Context(), "1.3", false)
	if err != nil {
		t.Fatal(err)
	}
	steps, warnings := s.PlanPrune(st, "1.3", 0)
	if len(steps) != 1 || !strings.HasSuffix(steps[0].Path, "go1.2") || len(warnings) != 0 {
		t.Errorf("keep 0 with 1.1 as previous: %v, %v", steps, warnings)
	}
	if steps, _ := s.PlanPrune(st, "1.3", 2); len(steps) != 0 {
		t.Errorf("keep 2: %v", steps)
	}
}

func TestRepairOfTheCurrentToolchain(t *testing.T) {
	for name, noExchange := range map[string]bool{"exchange": false, "file by file": true} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			s.noExchange = noExchange
			a := pack(t, "1.1", smallTree("1.1"))
			mustApply(t, s, a)
			dir := s.Dir("1.1")
			writeFile(t, filepath.Join(dir, "bin/gofmt"), "altered")
			writeFile(t, filepath.Join(dir, "src/p1/extra.go"), "package p1")
			writeFile(t, filepath.Join(dir, "stale/x"), "")
			writeFile(t, filepath.Join(dir, "go.env"), "GOFLAGS=-x\n") // not ours to judge
			if err := os.RemoveAll(filepath.Join(dir, "src/p2")); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, "src/p3/p.go")); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, "src/p3/p.go/file"), "a directory where a file was")
			writeFile(t, filepath.Join(dir, "src/p4/p.go"), "package pX // 1.1\n") // same size

			quick, err := s.Inspect(t.Context(), "1.1", false)
			if err != nil || !slices.Equal(wire.Paths(quick.Drift), []string{filepath.Join(dir, "bin/gofmt")}) || quick.Ready() {
				t.Errorf("quick drift: %v, %v", quick.Drift, err)
			}
			deep, err := s.Inspect(t.Context(), "", true)
			want := []string{"bin/gofmt", "src/p1/extra.go", "src/p2", "src/p2/p.go", "src/p3/p.go", "src/p3/p.go/file", "src/p4/p.go", "stale"}
			for i := range want {
				want[i] = filepath.Join(dir, want[i])
			}
			slices.Sort(want)
			if err != nil || !slices.Equal(wire.Paths(deep.Drift), want) {
				t.Errorf("deep drift: %v, want %v (%v)", deep.Drift, want, err)
			}

			refuse := Hooks{Verify: func(_ context.Context, in string) error {
				if in == dir {
					t.Error("a repair was verified in place of the current toolchain")
				}
				return errors.New("does not work")
			}}
			if err := apply(t.Context(), s, a, refuse); err == nil {
				t.Error("a repair that does not verify was taken")
			}
			if _, err := os.Lstat(filepath.Join(dir, "stale")); err != nil {
				t.Errorf("a refused repair changed the toolchain: %v", err)
			}
			mustApply(t, s, a)
			wantVersion(t, s, "1.1")
			wantClean(t, s)
			if st, err := s.Inspect(t.Context(), "1.1", true); err != nil || !st.Ready() {
				t.Errorf("after repair: %v, %v", st.Drift, err)
			}
		})
	}
}

func TestVerifyRefusesANewToolchain(t *testing.T) {
	s := newStore(t)
	mustApply(t, s, pack(t, "1.1", smallTree("1.1")))
	before := listing(t, filepath.Dir(s.Link))
	hooks := Hooks{
		Prepare: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "go.env"), []byte("GOTOOLCHAIN=local\n"), 0o644)
		},
		Verify: func(_ context.Context, dir string) error {
			if dir != s.Dir("1.2") {
				t.Errorf("verified in %s", dir)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "go.env")); err != nil || string(b) != "GOTOOLCHAIN=local\n" {
				t.Errorf("go.env when verifying: %q, %v", b, err)
			}
			return wire.NewError(wire.KindVerify, errors.New("broken"), "")
		},
	}
	if err := apply(t.Context(), s, pack(t, "1.2", smallTree("1.2")), hooks); kindOf(err) != wire.KindVerify {
		t.Errorf("error: %v", err)
	}
	wantVersion(t, s, "1.1")
	if after := listing(t, filepath.Dir(s.Link)); !slices.Equal(before, after) {
		t.Errorf("a refused toolchain left something:\n%s", strings.Join(after, "\n"))
	}
}

func TestManifestDamagedMissingNewer(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	a := pack(t, "1.1", smallTree("1.1"))
	mustApply(t, s, a)
	path := s.Manifest("1.1")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte{}, good...)
	damaged[len(damaged)/2] ^= 1
	for name, b := range map[string][]byte{"damaged": damaged, "cut": good[:len(good)-100], "empty": {}} {
		writeFile(t, path, string(b))
		st, err := s.Inspect(ctx, "1.1", false)
		if err != nil || !slices.Equal(wire.Paths(st.Drift), []string{path}) {
			t.Errorf("%s: drift %v, %v", name, st.Drift, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(false, mustLoad(t, s)); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, s, "1.1") // the sweep spares what the link leads to
	mustApply(t, s, a)
	if st, err := s.Inspect(ctx, "1.1", true); err != nil || !st.Ready() {
		t.Errorf("after repair: %v, %v", st, err)
	}

	newer := `{"format":2,"version":["of","another","shape"]}` + "\nwhatever\n"
	writeFile(t, path, newer)
	before := listing(t, filepath.Dir(s.Link))
	if err := apply(ctx, s, a, Hooks{}); kindOf(err) != wire.KindFormat {
		t.Errorf("newer format: %v", err)
	}
	if after := listing(t, filepath.Dir(s.Link)); !slices.Equal(before, after) {
		t.Error("a newer format was touched")
	}
	if b, _ := os.ReadFile(path); string(b) != newer {
		t.Error("a newer manifest was changed")
	}
}
