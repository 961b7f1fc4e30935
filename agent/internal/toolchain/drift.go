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
	"sort"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// goEnv is the one file inside GOROOT whose content is not the archive's.
const goEnv = "go.env"

// How a file or directory is no longer what it was.
const (
	howMissing = "missing"
	howExtra   = "extra"
	howContent = "content"
)

// drift gives the paths at which the toolchain in dir is no longer what its
// manifest says, and how.
func drift(ctx context.Context, dir string, m *Manifest, deep bool) ([]wire.Drift, error) {
	var found []wire.Drift
	var err error
	if deep {
		found, err = driftDeep(ctx, dir, m)
	} else {
		found, err = driftQuick(dir, m)
	}
	if err != nil {
		return nil, fmt.Errorf("look for drift in %s: %w", dir, err)
	}
	for i := range found {
		found[i].Path = filepath.Join(dir, found[i].Path)
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].Path < found[j].Path })
	return found, nil
}

// driftQuick compares what breaks a toolchain first. It reads no more than the
// lines of the manifest that it needs: it runs on every host in every run.
func driftQuick(dir string, m *Manifest) ([]wire.Drift, error) {
	want, err := m.quickEntries()
	if err != nil {
		return nil, err
	}
	var found []wire.Drift
	for i := range want {
		e := &want[i]
		how, err := differs(filepath.Join(dir, e.Path), e)
		if err == nil && how == "" && e.Path == "VERSION" {
			how, err = contentDiffers(context.Background(), filepath.Join(dir, e.Path), e, make([]byte, 4<<10))
		}
		if err != nil {
			return nil, err
		}
		if how != "" {
			found = append(found, wire.Drift{Path: e.Path, How: how})
		}
	}
	return found, nil
}

// quickEntries are VERSION, bin, pkg/tool and what is in them.
func (m *Manifest) quickEntries() (tree.Manifest, error) {
	var text []byte
	for _, line := range bytes.SplitAfter(m.text, []byte("\n")) {
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
	how, err := differs(path, e)
	return how == "", err
}

// differs compares type, mode, size and owner, and says how they differ.
func differs(path string, e *tree.Entry) (how string, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			return howMissing, nil
		}
		return "", &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	kind := uint32(unix.S_IFREG)
	if e.Dir {
		kind = unix.S_IFDIR
	}
	if st.Mode&unix.S_IFMT != kind {
		return fmt.Sprintf("%s, not %s", kindName(st.Mode), kindName(kind)), nil
	}
	var hows []string
	if !e.Dir && st.Size != e.Size {
		hows = append(hows, howContent)
	}
	if mode, want := st.Mode&0o7777, uint32(e.Mode.Perm()); mode != want {
		hows = append(hows, fmt.Sprintf("mode %04o, not %04o", mode, want))
	}
	if uid := os.Geteuid(); int(st.Uid) != uid {
		hows = append(hows, fmt.Sprintf("owner %d, not %d", st.Uid, uid))
	}
	return strings.Join(hows, "; "), nil
}

func kindName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "a file"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFLNK:
		return "a link"
	}
	return "a special file"
}

// contentDiffers is sameContent in the words of drift.
func contentDiffers(ctx context.Context, path string, e *tree.Entry, buf []byte) (how string, err error) {
	same, err := sameContent(ctx, path, e, buf)
	if err != nil || same {
		return "", err
	}
	return howContent, nil
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

// driftDeep compares everything, the root too, and looks for what should not
// be there.
func driftDeep(ctx context.Context, dir string, m *Manifest) ([]wire.Drift, error) {
	want, err := m.Entries()
	if err != nil {
		return nil, err
	}
	found, err := differing(ctx, dir, want)
	if err != nil {
		return nil, err
	}
	how, err := differs(dir, &tree.Entry{Dir: true, Mode: 0o755})
	if err != nil {
		return nil, err
	}
	if how != "" {
		found = append(found, wire.Drift{How: how})
	}
	extra, err := extraPaths(ctx, dir, want)
	for _, path := range extra {
		found = append(found, wire.Drift{Path: path, How: howExtra})
	}
	return found, err
}

// differing hashes with as many readers as there are cores, up to four, and
// behind whatever else the host has to do.
func differing(ctx context.Context, dir string, want tree.Manifest) ([]wire.Drift, error) {
	var (
		mu    sync.Mutex
		found []wire.Drift
		errs  []error
		wg    sync.WaitGroup
		next  = make(chan *tree.Entry, 64)
	)
	for range min(runtime.GOMAXPROCS(0), 4) {
		wg.Go(func() {
			yieldToOthers()
			buf := make([]byte, 128<<10)
			for e := range next {
				path := filepath.Join(dir, e.Path)
				how, err := differs(path, e)
				// A size that is right says nothing; a mode that is wrong neither.
				if err == nil && !e.Dir && !isSettled(how) {
					how, err = withContent(ctx, how, path, e, buf)
				}
				if err == nil && how == "" {
					continue
				}
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					found = append(found, wire.Drift{Path: e.Path, How: how})
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
	return found, nil
}

// isSettled reports that content needs no look any more.
func isSettled(how string) bool {
	return how == howMissing || strings.HasPrefix(how, howContent) || strings.HasPrefix(how, "a ")
}

// withContent adds to how a file differs whether its content does.
func withContent(ctx context.Context, how, path string, e *tree.Entry, buf []byte) (string, error) {
	content, err := contentDiffers(ctx, path, e, buf)
	if content != "" && how != "" {
		content += "; "
	}
	return content + how, err
}

// yieldToOthers lets the goroutine's thread have the CPU and the disk only
// where nobody else wants them. The thread ends with the goroutine, so that
// nothing else runs on it. A kernel that refuses is no reason to stop.
func yieldToOthers() {
	const (
		nice           = 10
		ioprioWho      = 1         // a thread
		ioprioBestLast = 2<<13 | 7 // best effort, the lowest of it
	)
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWho, 0, ioprioBestLast)
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
