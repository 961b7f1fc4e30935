package toolchain

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// applyDifference is apply where only that travels which the host lacks, and
// gives the paths of that.
func applyDifference(ctx context.Context, s *Store, a archive, files map[string]string) (sent []string, err error) {
	err = applyBy(ctx, s, a, func(st *State) error {
		staged, paths, err := stage(ctx, s, st, a, files)
		if err != nil {
			return err
		}
		sent = paths
		return s.Commit(ctx, staged, Hooks{})
	})
	return sent, err
}

// stage gathers, and receives the rest as a controller would send it.
func stage(ctx context.Context, s *Store, st *State, a archive, files map[string]string) (*Staged, []string, error) {
	g, err := gathered(ctx, s, st, a)
	if err != nil {
		return nil, nil, err
	}
	if g == nil {
		return nil, nil, errors.New("the host has too little")
	}
	if len(g.Lacks()) == 0 {
		staged, err := g.Staged(a.release)
		return staged, nil, err
	}
	a, paths := difference(a, g, files)
	staged, err := stageFrom(ctx, s, a, g)
	return staged, paths, err
}

func gathered(ctx context.Context, s *Store, st *State, a archive) (*Gathered, error) {
	bases := s.Bases(st)
	m := bases.Known(a.release)
	if m == nil {
		d, err := tree.Decompress(bytes.NewReader(a.raw), wire.Gzip)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		if m, err = tree.Read(d, tree.DefaultLimits(), nil); err != nil {
			return nil, err
		}
	}
	return s.Gather(ctx, bases, m, func(b []byte) []byte {
		return []byte(strings.TrimSuffix(string(b), "GOFLAGS=ours\n"))
	})
}

// difference gives what travels.
func difference(a archive, g *Gathered, files map[string]string) (archive, []string) {
	selected, err := g.tree.Select(g.Lacks())
	if err != nil {
		panic(err)
	}
	var paths []string
	var raw []byte
	for _, i := range selected {
		paths = append(paths, g.tree[i].Path)
		raw = append(raw, files[g.tree[i].Path]...)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	a.raw = z.EncodeAll(raw, nil)
	a.transfer = transferOf(a.raw, wire.Zstd, 1<<12)
	a.transfer.Difference = true
	return a, paths
}

func TestUpgradeSendsOnlyWhatIsLacking(t *testing.T) {
	s := newStore(t)
	preparedAlike("1.0", "1.1")(t, s)
	files := alikeTree("1.2")
	a := pack(t, "1.2", files)
	sent, err := applyDifference(t.Context(), s, a, files)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"VERSION", "bin/go", "src/p1/p.go", "src/p7/p.go"}; !slices.Equal(sent, want) {
		t.Errorf("sent %q, want %q", sent, want)
	}
	wantVersion(t, s, "1.2")
	wantIntact(t, s, "1.2")
	wantIntact(t, s, "1.1")
	wantClean(t, s)
}

// wantIntact wants every byte of a toolchain to be right.
func wantIntact(t *testing.T, s *Store, version string) {
	t.Helper()
	st, err := s.Inspect(t.Context(), version, true)
	if err != nil || !st.Ready() {
		t.Fatalf("go%s: %+v, %v", version, st, err)
	}
}

func TestGatherBelievesNothing(t *testing.T) {
	files := alikeTree("1.2")
	a := pack(t, "1.2", files)
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"same size, another content": func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, "src/p3/p.go"))
			if err != nil {
				t.Fatal(err)
			}
			b[0] ^= 1
			writeFile(t, filepath.Join(dir, "src/p3/p.go"), string(b))
		},
		"gone": func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "src/p3/p.go")) },
		"longer": func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "src/p3/p.go"), "package longer; var all int")
		},
		"a directory": func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, "src/p3/p.go"))
			mustMkdir(t, filepath.Join(dir, "src/p3/p.go"))
		},
		"a link to the same": func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, "src/p3/p.go"), filepath.Join(dir, "moved")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("../../moved", filepath.Join(dir, "src/p3/p.go")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			preparedAlike("1.1")(t, s)
			spoil(t, s.Dir("1.1"))
			sent, err := applyDifference(t.Context(), s, a, files)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(sent, "src/p3/p.go") || len(sent) != 5 {
				t.Errorf("sent %q", sent)
			}
			wantIntact(t, s, "1.2")
		})
	}
}

// A large file is written before its sum is known; one that is wrong goes.
func TestGatherTakesAWrongLargeFileAway(t *testing.T) {
	s := newStore(t)
	preparedAlike("1.1")(t, s)
	path := filepath.Join(s.Dir("1.1"), "src/large.txt")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	writeFile(t, path, string(b))
	files := alikeTree("1.2")
	// Without it most of the tree lacks; the rest must still be taken.
	sent, err := applyDifference(t.Context(), s, pack(t, "1.2", files), files)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(sent, "src/large.txt") {
		t.Errorf("sent %q", sent)
	}
	wantIntact(t, s, "1.2")
}

func TestRepairWithoutAnythingSent(t *testing.T) {
	s := newStore(t)
	preparedAlike("1.1")(t, s)
	dir := s.Dir("1.1")
	writeFile(t, filepath.Join(dir, "src/extra.go"), "package extra")
	if err := os.Chmod(filepath.Join(dir, "bin/go"), 0o777); err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(filepath.Join(dir, goEnv))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, goEnv), string(env)+"GOFLAGS=ours\n")
	files := alikeTree("1.1")
	sent, err := applyDifference(t.Context(), s, pack(t, "1.1", files), files)
	if err != nil || len(sent) > 0 {
		t.Fatalf("sent %q, %v", sent, err)
	}
	wantIntact(t, s, "1.1")
	wantClean(t, s)
}

// What lost its manifest is still looked at.
func TestGatherFromAnUnknownTree(t *testing.T) {
	s := newStore(t)
	preparedAlike("1.1")(t, s)
	writeFile(t, s.Manifest("1.1"), "damaged")
	files := alikeTree("1.1")
	sent, err := applyDifference(t.Context(), s, pack(t, "1.1", files), files)
	if err != nil || len(sent) > 0 {
		t.Fatalf("sent %q, %v", sent, err)
	}
	wantIntact(t, s, "1.1")
}

func TestGatherLeavesARelativelyStrangeTreeAlone(t *testing.T) {
	s := newStore(t)
	mustApply(t, s, pack(t, "1.0", smallTree("1.0")))
	a := pack(t, "1.2", smallTree("1.2"))
	st, err := s.Inspect(t.Context(), "1.2", false)
	if err != nil {
		t.Fatal(err)
	}
	if g, err := gathered(t.Context(), s, st, a); g != nil || err != nil {
		t.Errorf("gathered %+v, %v from a release that has nothing in common", g, err)
	}
	wantClean(t, s)
}

func TestWrongDifferenceIsRefused(t *testing.T) {
	files := alikeTree("1.2")
	a := pack(t, "1.2", files)
	for name, spoil := range map[string]func(files map[string]string){
		"of another content": func(files map[string]string) { files["src/p1/p.go"] = "package p1 // 1.3\n" },
		"too short":          func(files map[string]string) { files["src/p7/p.go"] = "" },
		"too long":           func(files map[string]string) { files["src/p7/p.go"] += "more" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			preparedAlike("1.1")(t, s)
			before := listing(t, s.Root)
			st, err := s.Inspect(t.Context(), "1.2", false)
			if err != nil {
				t.Fatal(err)
			}
			g, err := gathered(t.Context(), s, st, a)
			if err != nil {
				t.Fatal(err)
			}
			good, _ := difference(a, g, files)
			altered := maps.Clone(files)
			spoil(altered)
			bad, _ := difference(a, g, altered)
			bad.transfer.SHA256 = good.transfer.SHA256 // all that the sizes of files do not say
			if _, err := stageFrom(t.Context(), s, bad, g); kindOf(err) != wire.KindArchiveCorrupt {
				t.Fatalf("%v", err)
			}
			if after := listing(t, s.Root); !slices.Equal(before, after) {
				t.Errorf("left behind: %q", after)
			}
			wantVersion(t, s, "1.1")
		})
	}
}

func TestDifferenceThatNobodyAskedForIsRefused(t *testing.T) {
	s := newStore(t)
	a := pack(t, "1.2", alikeTree("1.2"))
	a.transfer.Difference = true
	if _, err := stageFrom(t.Context(), s, a, nil); kindOf(err) != wire.KindProtocol {
		t.Errorf("%v", err)
	}
}

// A difference that broke off goes on where it stood.
func TestDifferenceResumes(t *testing.T) {
	s := newStore(t)
	preparedAlike("1.1")(t, s)
	files := alikeTree("1.2")
	files["src/random"] = smallTree("1.2")["src/random"] // some chunks
	a := pack(t, "1.2", files)
	st, err := s.Inspect(t.Context(), "1.2", false)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gathered(t.Context(), s, st, a)
	if err != nil {
		t.Fatal(err)
	}
	rest, _ := difference(a, g, files)
	u, err := s.Receive(t.Context(), rest.release, rest.transfer, g, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	const came = 20_000
	if err := u.Append(bytes.NewReader(rest.raw[:came]), int64(len(rest.raw))); err == nil {
		t.Fatal("half an upload is no error")
	}
	if _, err := u.Extract(t.Context(), nil); kindOf(err) != wire.KindStopped {
		t.Fatal(err)
	}
	u.Close()
	if g, err = gathered(t.Context(), s, st, a); err != nil {
		t.Fatal(err)
	}
	if u, err = s.Receive(t.Context(), rest.release, rest.transfer, g, os.Geteuid()); err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	at := u.Need().Offset
	if want := int64(came / (1 << 12) * (1 << 12)); at != want {
		t.Errorf("goes on at %d, want %d", at, want)
	}
	if err := u.Append(bytes.NewReader(rest.raw[at:]), int64(len(rest.raw))-at); err != nil {
		t.Fatal(err)
	}
	staged, err := u.Extract(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), staged, Hooks{}); err != nil {
		t.Fatal(err)
	}
	wantIntact(t, s, "1.2")
}
