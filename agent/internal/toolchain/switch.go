package toolchain

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/wire"
)

// linkPrefix begins a link in record.Record's Files and Kept.
const linkPrefix = "link:"

// PlanSwitch gives the step that makes the link lead to a version, or none. A
// mount point, or anything but a link or a directory, is refused with
// link_refused while planning.
func (s *Store) PlanSwitch(st *State, version string, rec *record.Record) ([]change.Step, error) {
	if err := checkVersion(version); err != nil {
		return nil, err
	}
	if err := s.refuseLink(st.Link); err != nil {
		return nil, err
	}
	dir := s.Dir(version)
	want := linkPrefix + target(s.Link, dir)
	if st.Link.Dir == dir {
		rec.Files[s.Link] = linkPrefix + st.Link.Target
		return nil, nil
	}
	noted, ours := rec.Files[s.Link]
	return []change.Step{{
		Name:  fmt.Sprintf("switch %s to go%s", s.Link, version),
		Path:  s.Link,
		Drift: ours && noted != linkPrefix+st.Link.Target,
		Diff:  s.linkDiff(st.Link, want[len(linkPrefix):]),
		Do:    func(ctx context.Context) error { return s.Switch(ctx, version, rec) },
		Undo:  func() error { return s.switchBack(st.Link, rec, noted) },
	}}, nil
}

func (s *Store) linkDiff(l Link, to string) string {
	if l.Kind == LinkUnmanaged {
		return fmt.Sprintf("--- %s\n+++ %s\n-directory, which is kept in %s\n+link to %s\n", s.Link, s.Link, s.Root, to)
	}
	return hostfile.LinkDiff(s.Link, l.Target, to)
}

func (s *Store) refuseLink(l Link) error {
	switch l.Kind {
	case LinkMount:
		return wire.NewError(wire.KindLink, fmt.Errorf("gofleet_link %s is a mount point", s.Link),
			"unmount it, or set gofleet_link to another path")
	case LinkFile:
		return wire.NewError(wire.KindLink, fmt.Errorf("gofleet_link %s is neither a link nor a directory", s.Link),
			"move it away, or set gofleet_link to another path")
	}
	if l.Kind == LinkUnmanaged && mountsBelow(s.Link) {
		return wire.NewError(wire.KindLink, fmt.Errorf("something is mounted below gofleet_link %s", s.Link),
			"unmount it, or set gofleet_link to another path")
	}
	return nil
}

// Switch points the link at a version in one rename, after recording in its
// manifest what the link led to. Both toolchains exist at every instant, so a
// crash leaves a usable Go. A real directory is exchanged with the link and
// kept; where the filesystem can't, see moveAside.
func (s *Store) Switch(ctx context.Context, version string, rec *record.Record) error {
	if err := checkVersion(version); err != nil {
		return err
	}
	dir := s.Dir(version)
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
		return wire.NewError(wire.KindNotInstalled, fmt.Errorf("go%s is not at %s", version, dir), "")
	}
	link, err := s.inspectLink()
	if err != nil {
		return hostError(err)
	}
	if err := s.refuseLink(link); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return stopped(context.Cause(ctx))
	}
	if link.Kind == LinkUnmanaged {
		return hostError(s.replaceDirectory(version, link, rec))
	}
	if link.Dir != dir {
		if err := s.setPrevious(version, s.leadsTo(link)); err != nil {
			return hostError(err)
		}
	}
	s.fault("switch.recorded")
	if err := s.pointTo(dir, rec); err != nil {
		return hostError(err)
	}
	if link.Kind == LinkForeign {
		rec.Kept[s.Link] = linkPrefix + link.Target
	}
	return nil
}

// pointTo replaces a link, or nothing, by a link to dir.
func (s *Store) pointTo(dir string, rec *record.Record) error {
	if err := os.MkdirAll(filepath.Dir(s.Link), 0o755); err != nil {
		return fmt.Errorf("make the directory of gofleet_link: %w", err)
	}
	to := target(s.Link, dir)
	if err := durable.Symlink(to, s.Link); err != nil {
		return err
	}
	s.fault("switch.linked")
	rec.Files[s.Link] = linkPrefix + to
	return nil
}

// switchBack undoes Switch. It bears one that did nothing.
func (s *Store) switchBack(before Link, rec *record.Record, noted string) error {
	if noted == "" {
		delete(rec.Files, s.Link)
	} else {
		rec.Files[s.Link] = noted
	}
	now, err := s.inspectLink()
	if err != nil {
		return err
	}
	if now.Kind == before.Kind && now.Target == before.Target {
		return nil
	}
	switch before.Kind {
	case LinkNone:
		return durable.Remove(s.Link)
	case LinkUnmanaged:
		kept := rec.Kept[s.Link]
		delete(rec.Kept, s.Link)
		return s.putBack(kept)
	case LinkForeign:
		delete(rec.Kept, s.Link)
	}
	return durable.Symlink(before.Target, s.Link)
}

// replaceDirectory makes a link of the real directory at gofleet_link, which
// stays as an unmanaged toolchain.
func (s *Store) replaceDirectory(version string, link Link, rec *record.Record) error {
	aside, err := s.asidePath(link.Version)
	if err != nil {
		return err
	}
	if err := s.setPrevious(version, s.leadsTo(Link{Kind: LinkKept, Dir: aside})); err != nil {
		return err
	}
	s.fault("switch.recorded")
	to := target(s.Link, s.Dir(version))
	if err := os.Symlink(to, aside); err != nil {
		return fmt.Errorf("prepare the link: %w", err)
	}
	s.fault("exchange.prepared")
	err = s.exchange(aside, s.Link)
	switch {
	case errors.Is(err, unix.EBUSY):
		os.Remove(aside)
		return wire.NewError(wire.KindLink, fmt.Errorf("gofleet_link %s is in use as a mount point: %w", s.Link, err),
			"unmount it, or set gofleet_link to another path")
	case cannotExchange(err):
		if err := os.Remove(aside); err != nil {
			return fmt.Errorf("remove the prepared link: %w", err)
		}
		err = s.moveAside(intent{Link: s.Link, Aside: aside, Target: to})
	case err == nil:
		s.fault("exchange.done")
		err = errors.Join(durable.SyncDir(filepath.Dir(s.Link)), durable.SyncDir(filepath.Dir(aside)))
	default:
		os.Remove(aside)
	}
	if err != nil {
		return err
	}
	rec.Kept[s.Link] = aside
	rec.Files[s.Link] = linkPrefix + to
	return nil
}

// asidePath is where an unmanaged directory is kept: in the root, or beside
// the link where the root is another filesystem.
func (s *Store) asidePath(version string) (string, error) {
	if version == "" {
		version = "unknown"
	}
	var unique [4]byte
	if _, err := unix.Getrandom(unique[:], 0); err != nil {
		return "", fmt.Errorf("name the directory that is kept: %w", err)
	}
	name := version + "-" + hex.EncodeToString(unique[:])
	var a, b unix.Stat_t
	if err := errors.Join(unix.Lstat(s.Link, &a), unix.Stat(s.Root, &b)); err != nil {
		return "", fmt.Errorf("look at gofleet_link: %w", err)
	}
	if a.Dev != b.Dev {
		return s.Link + ".unmanaged-" + name, nil
	}
	return filepath.Join(s.Root, unmanagedPrefix+name), nil
}

// putBack makes the directory that is kept at aside stand at the link again.
func (s *Store) putBack(aside string) error {
	if st, err := os.Lstat(aside); err != nil || !st.IsDir() {
		return nil // it was never moved
	}
	err := s.exchange(aside, s.Link)
	if err == nil {
		err = os.Remove(aside) // now the link
	} else if cannotExchange(err) || errors.Is(err, fs.ErrNotExist) {
		if err = os.Remove(s.Link); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(aside, s.Link)
		}
	}
	if err != nil {
		return fmt.Errorf("put %s back: %w", s.Link, err)
	}
	return errors.Join(durable.SyncDir(filepath.Dir(s.Link)), durable.SyncDir(filepath.Dir(aside)))
}
