package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// versionControl are directories that sources go without.
var versionControl = []string{".git", ".hg", ".svn", ".bzr", "CVS"}

// sourceTree is one directory of sources, read once for all hosts.
type sourceTree struct {
	root  *os.Root
	files *release.FileTree
	err   error
}

func (t *sourceTree) close() {
	if t.files != nil {
		t.files.Close() // files that were only read
	}
	if t.root != nil {
		t.root.Close()
	}
}

// openSources gives every host the sources that it is to have in its GOPATH. An
// audit does without where they are not there.
func (sh *shelf) openSources(ctx context.Context, hosts []*inventory.Host, specs []*spec.Spec, action wire.Action) ([]*release.FileTree, error) {
	trees := make([]*release.FileTree, len(hosts))
	var found problems
	for i, h := range hosts {
		if specs[i].Gopath == nil {
			continue
		}
		dir := resolve(specs[i].Gopath.Sources, h.Dir())
		t := sh.sources[dir]
		if t == nil {
			t = openSourceTree(ctx, dir)
			sh.sources[dir] = t
		}
		switch {
		case t.err == nil:
			trees[i] = t.files
		case action == wire.Audit && errors.Is(t.err, fs.ErrNotExist):
			sh.ui.Warn(h.Name, fmt.Sprintf("%s is not here: whether the host's sources are the newest is not known", dir))
		default:
			found.addOf(h.Name, t.err, h.Origin(prefix+"gopath", "sources").String())
		}
	}
	return trees, found.errOrNil()
}

func openSourceTree(ctx context.Context, dir string) *sourceTree {
	t := &sourceTree{}
	if t.root, t.err = os.OpenRoot(dir); t.err != nil {
		t.err = hint(fmt.Errorf("open the sources of gofleet_gopath: %w", t.err), "name the directory whose content comes to src below the GOPATH")
		return t
	}
	files := t.root.FS()
	if st, err := fs.Stat(files, "src"); err == nil && st.IsDir() {
		t.err = hint(fmt.Errorf("%s has a directory src, as a whole GOPATH does", dir), "name its sources: "+filepath.Join(dir, "src"))
		return t
	}
	list, err := listSources(ctx, files, dir)
	if err == nil && len(list) == 0 {
		err = hint(fmt.Errorf("%s has no files", dir), "put the sources there, or drop gofleet_gopath to have hosts go without")
	}
	if err == nil {
		t.files, err = release.NewFileTree(files, ".", list, filepath.Base(dir), "sources: as they lie on the controller", "")
	}
	t.err = err
	return t
}

// listSources reads every file. A link, or what else is no file, is an error:
// where it leads to is not the host's business, and leaving it out would break
// a build there.
func listSources(ctx context.Context, files fs.FS, dir string) ([]release.TreeFile, error) {
	var list []release.TreeFile
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case slices.Contains(versionControl, d.Name()):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil // .git of a worktree or submodule
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			what := "no file"
			if d.Type()&fs.ModeSymlink != 0 {
				what = "a symbolic link"
			}
			return hint(fmt.Errorf("%s is %s: gofleet_gopath sends files only", filepath.Join(dir, name), what), "replace it by what it leads to, or take it out of the sources")
		}
		f, err := sourceFile(files, name)
		list = append(list, f)
		return err
	})
	return list, err
}

func sourceFile(files fs.FS, name string) (release.TreeFile, error) {
	f, err := files.Open(name)
	if err != nil {
		return release.TreeFile{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return release.TreeFile{}, err
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	return release.TreeFile{Path: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil)), Exec: st.Mode()&0o100 != 0}, err
}
