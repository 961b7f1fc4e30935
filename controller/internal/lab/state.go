//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const stateFormat = 1

// state is what state.json holds.
type state struct {
	Format    int         `json:"format"`
	Name      string      `json:"name"`
	Slot      slot        `json:"slot"`
	Upper     string      `json:"upper"`    // "tmpfs" or "disk"
	Writable  string      `json:"writable"` // the directory above what the hosts write
	Ephemeral bool        `json:"ephemeral"`
	Ready     bool        `json:"ready"` // Up came to its end
	Hosts     []hostState `json:"hosts"`
}

type hostState struct {
	Config HostConfig `json:"config"`
	Addr   string     `json:"addr"`
	Upper  string     `json:"upper"`
	Boot   bootOrder  `json:"boot"`
}

func stateFile(dir string) string { return filepath.Join(dir, "state.json") }

func (s state) write(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := stateFile(dir) + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, stateFile(dir))
}

func readState(dir string) (state, error) {
	var s state
	b, err := os.ReadFile(stateFile(dir))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", stateFile(dir), err)
	}
	if s.Format != stateFormat {
		return s, fmt.Errorf("read %s: format %d, this program knows %d", stateFile(dir), s.Format, stateFormat)
	}
	return s, nil
}

// lockDir locks the lab called name below dir against other processes. The lock
// file lies beside the lab's directory and goes when unlock is called.
func lockDir(ctx context.Context, dir, name string) (unlock func(), err error) {
	path := filepath.Join(dir, "."+name+".lock")
	for {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the directory went meanwhile
		} else if err != nil {
			return nil, err
		}
		if err := flock(ctx, f); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock lab %s: %w", name, err)
		}
		// Who held it before may have removed the file.
		held, err1 := f.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(held, there) {
			return func() {
				os.Remove(path)
				f.Close()
				if dir == DefaultDir {
					os.Remove(dir) // succeeds for the last lab only
				}
			}, nil
		}
		f.Close()
	}
}

// flock takes the lock, or gives up when ctx ends.
func flock(ctx context.Context, f *os.File) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// livingHosts returns the hosts of the lab in dir that run.
func livingHosts(dir string) ([]initProcess, error) {
	all, err := initProcesses()
	if err != nil {
		return nil, err
	}
	var mine []initProcess
	for _, p := range all {
		if p.Dir == dir {
			mine = append(mine, p)
		}
	}
	return mine, nil
}

// clear removes all of the lab in dir, however far it had come: processes,
// network, mounts, directories.
func clear(ctx context.Context, dir string) error {
	hosts, err := livingHosts(dir)
	if err != nil {
		return err
	}
	for _, p := range hosts {
		if err := p.kill(ctx); err != nil {
			return err
		}
	}
	if err := removeCgroups(ctx, dir); err != nil {
		return err
	}
	if err := removeNetwork(ctx, dir); err != nil {
		return err
	}
	if s, err := readState(dir); err == nil && s.Upper == "disk" {
		if err := os.RemoveAll(s.Writable); err != nil {
			return err
		}
	}
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// unmountBelow unmounts what a lab has mounted below dir.
func unmountBelow(dir string) error {
	targets, err := mountsBelow(dir, mountSource)
	if err != nil {
		return err
	}
	for _, t := range targets {
		err := unix.Unmount(t, 0)
		if errors.Is(err, unix.EBUSY) {
			// Somebody looks at a file; it goes when they are done.
			err = unix.Unmount(t, unix.MNT_DETACH)
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", t, err)
		}
	}
	return nil
}

// mountsBelow lists the mount points below dir in the order in which they were
// made; source, if not empty, is what was mounted.
func mountsBelow(dir, source string) ([]string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var targets []string
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 2 || source != "" && f[0] != source {
			continue
		}
		if t := unescape(f[1]); strings.HasPrefix(t, dir+"/") {
			targets = append(targets, t)
		}
	}
	return targets, nil
}

// unescape undoes the octal escapes of /proc/mounts.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Find returns the lab called name below dir; "" are the defaults of Config.
func Find(dir, name string) (*Lab, error) {
	if dir == "" {
		dir = DefaultDir
	}
	if name == "" {
		name = "default"
	}
	dir, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	s, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no lab %s in %s: gofleet-lab up starts one", name, filepath.Dir(dir))
	} else if err != nil {
		return nil, err
	}
	l := &Lab{Name: s.Name, Dir: dir, Upper: s.Upper, state: s}
	for i, h := range s.Hosts {
		l.Hosts = append(l.Hosts, newHost(l, i+1, h))
	}
	return l, nil
}

// Remove ends the lab called name below dir and removes all of it, also what a
// crash of Up left. That there is none is no error.
func Remove(ctx context.Context, dir, name string) error {
	c, err := Config{Name: name, Dir: dir, Hosts: make([]HostConfig, 1)}.withDefaults()
	if err != nil {
		return err
	}
	unlock, err := lockDir(ctx, c.Dir, c.Name)
	if err != nil {
		return err
	}
	defer unlock()
	return clear(ctx, filepath.Join(c.Dir, c.Name))
}

// List returns the labs below dir, those too that a crash has left; "" is
// DefaultDir. A lab without state is nothing but its name and directory.
func List(dir string) ([]*Lab, error) {
	if dir == "" {
		dir = DefaultDir
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var labs []*Lab
	for _, e := range entries {
		if !e.IsDir() || !nameRE.MatchString(e.Name()) {
			continue
		}
		l, err := Find(dir, e.Name())
		if err != nil {
			l = &Lab{Name: e.Name(), Dir: filepath.Join(dir, e.Name())}
		}
		labs = append(labs, l)
	}
	return labs, nil
}

// Purge ends every lab on this machine, whatever its directory, also where the
// directory is gone: processes, bridges and tmpfs mounts, then the directories.
func Purge(ctx context.Context) error {
	hosts, err := initProcesses()
	if err != nil {
		return err
	}
	dirs := map[string]bool{}
	for _, p := range hosts {
		dirs[p.Dir] = true
		if err := p.kill(ctx); err != nil {
			return err
		}
	}
	mounts, err := mountsBelow("", mountSource)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		dirs[filepath.Dir(m)] = true
	}
	labs, err := List("")
	if err != nil {
		return err
	}
	for _, l := range labs {
		dirs[l.Dir] = true
	}
	for dir := range dirs {
		if err := Remove(ctx, filepath.Dir(dir), filepath.Base(dir)); err != nil {
			return err
		}
	}
	return removeNetwork(ctx, "")
}
