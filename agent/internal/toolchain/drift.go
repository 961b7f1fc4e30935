package toolchain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/tree"
)

// goEnv is the one file inside GOROOT whose content is not the archive's.
const goEnv = "go.env"

// drift gives the paths at which the toolchain in dir is no longer what its
// manifest says, sorted.
func drift(ctx context.Context, dir string, m *Manifest, deep bool) ([]string, error) {
	var paths []string
	var err error
	if deep {
		paths, err = driftDeep(ctx, dir, m)
	} else {
		paths, err = driftQuick(dir, m)
	}
	if err != nil {
		return nil, fmt.Errorf("look for drift in %s: %w", dir, err)
	}
	for i, p := range paths {
		paths[i] = filepath.Join(dir, p)
	}
	slices.Sort(paths)
	return paths, nil
}

// driftQuick compares what breaks a toolchain first. It reads no more than the
// lines of the manifest that it needs: it runs on every host in every run.
func driftQuick(dir string, m *Manifest) ([]string, error) {
	want, err := m.quickEntries()
	if err != nil {
		return nil, err
	}
	var paths []string
	for i := range want {
		e := &want[i]
		same, err := likeEntry(filepath.Join(dir, e.Path), e)
		if err != nil {
			return nil, err
		}
		if same && e.Path == "VERSION" {
			same, err = sameContent(context.Background(), filepath.Join(dir, e.Path), e, make([]byte, 4<<10))
			if err != nil {
				return nil, err
			}
		}
		if !same {
			paths = append(paths, e.Path)
		}
	}
	return paths, nil
}

// quickEntries are VERSION, bin, pkg/tool and what is in them.
func (m *Manifest) quickEntries() (tree.Manifest, error) {
	var text []byte
	for line := range bytes.Lines(m.text) {
		if isQuick(bytes.TrimSuffix(line[bytes.LastIndexByte(line, ' ')+1:], []byte{'\n'})) {
			text = append(text, line...)
		}
	}
	return tree.Parse(text)
}

func isQuick(path []byte) bool {
	switch string(path) {
	case "VERSION", "bin", "pkg", "pkg/tool":
		return true
	}
	return bytes.HasPrefix(path, []byte("bin/")) || bytes.HasPrefix(path, []byte("pkg/tool/"))
}

// likeEntry compares type, mode, size and owner. A missing file is not like.
func likeEntry(path string, e *tree.Entry) (bool, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			return false, nil
		}
		return false, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	mode, kind := uint32(e.Mode.Perm()), uint32(unix.S_IFREG)
	if e.Dir {
		kind = unix.S_IFDIR
	}
	return st.Mode == kind|mode && int(st.Uid) == os.Geteuid() && (e.Dir || st.Size == e.Size), nil
}

// sameContent hashes a file that is like e already.
func sameContent(ctx context.Context, path string, e *tree.Entry, buf []byte) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, stopped(context.Cause(ctx))
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	defer f.Close()
	h := sha256.New()
	// The struct hides WriteTo, so that buf is used.
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{io.LimitReader(f, e.Size+1)}, buf); err != nil {
		return false, err
	}
	return [sha256.Size]byte(h.Sum(nil)) == e.SHA256, nil
}

// driftDeep compares everything, and looks for what should not be there.
func driftDeep(ctx context.Context, dir string, m *Manifest) ([]string, error) {
	want, err := m.Entries()
	if err != nil {
		return nil, err
	}
	paths, err := differing(ctx, dir, want)
	if err != nil {
		return nil, err
	}
	extra, err := extraPaths(ctx, dir, want)
	return append(paths, extra...), err
}

// differing hashes with as many readers as there are cores.
func differing(ctx context.Context, dir string, want tree.Manifest) ([]string, error) {
	var (
		mu    sync.Mutex
		paths []string
		errs  []error
		wg    sync.WaitGroup
		next  = make(chan *tree.Entry, 64)
	)
	for range min(runtime.GOMAXPROCS(0), 4) {
		wg.Go(func() {
			buf := make([]byte, 128<<10)
			for e := range next {
				path := filepath.Join(dir, e.Path)
				same, err := likeEntry(path, e)
				if err == nil && same && !e.Dir {
					same, err = sameContent(ctx, path, e, buf)
				}
				if err == nil && same {
					continue
				}
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					paths = append(paths, e.Path)
				}
				mu.Unlock()
			}
		})
	}
	for i := range want {
		if ctx.Err() != nil {
			break
		}
		if want[i].Path != goEnv {
			next <- &want[i]
		}
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return nil, stopped(context.Cause(ctx))
	}
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return paths, nil
}

// extraPaths finds what the manifest does not list. An extra directory stands
// for all that is in it.
func extraPaths(ctx context.Context, dir string, want tree.Manifest) ([]string, error) {
	var extra []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return stopped(context.Cause(ctx))
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		if rel == "" || rel == goEnv {
			return nil
		}
		if want.Find(rel) != nil {
			return nil
		}
		extra = append(extra, rel)
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return extra, err
}
