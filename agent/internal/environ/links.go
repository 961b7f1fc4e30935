package environ

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
)

// linkNote is the form of a link in rec.Files.
const linkNote = "link:"

// isLink tells the links of this package from others in rec.Files.
func isLink(path, note string) bool {
	return strings.HasPrefix(note, linkNote) && filepath.Base(filepath.Dir(path)) == "bin" && slices.Contains(commands, filepath.Base(path))
}

// link plans that path is a link to target. What stands there and isn't ours is
// kept beside it.
func (p *planner) link(path, target string) error {
	before, err := lookLink(path)
	if err != nil {
		return err
	}
	noted, ours := p.rec.Files[path]
	if before.Type == hostfile.Link && leadsTo(path, before.Target, target) {
		p.rec.Files[path] = linkNote + target
		return nil
	}
	foreign := before.Type != hostfile.Absent && (before.Type != hostfile.Link || linkNote+before.Target != noted)
	s := &linkStep{p: p, path: path, target: target, noted: noted, ours: ours, before: before}
	diff := hostfile.LinkDiff(path, before.Target, target)
	if foreign {
		if s.kept, err = freeName(path + ".unmanaged"); err != nil {
			return err
		}
		p.warn("%s is not gofleet's: kept as %s", path, s.kept)
		diff = fmt.Sprintf("%s moved to %s\n", path, s.kept) + hostfile.LinkDiff(path, "", target)
	}
	p.steps = append(p.steps, change.Step{
		Name:  "link " + path,
		Path:  path,
		Drift: ours && (before.Type == hostfile.Absent || foreign),
		Diff:  diff,
		Do:    s.do,
		Undo:  s.undo,
	})
	return nil
}

func removedDiff(path string, now hostfile.State) string {
	if now.Type == hostfile.Link {
		return hostfile.LinkDiff(path, now.Target, "")
	}
	return "removed: " + path + "\n"
}

func lookLink(path string) (hostfile.State, error) {
	s, err := hostfile.Look(path)
	if err == nil && s.Type == hostfile.Other {
		err = refused(fmt.Errorf("%s is neither a file nor a link", path), "move it away and apply again")
	}
	return s, err
}

// leadsTo compares links by their text: a link that reaches the target through
// other links is not ours.
func leadsTo(path, got, want string) bool {
	if !filepath.IsAbs(got) {
		got = filepath.Join(filepath.Dir(path), got)
	}
	return filepath.Clean(got) == want
}

func freeName(path string) (string, error) {
	for i := 1; i < 100; i++ {
		name := path
		if i > 1 {
			name = fmt.Sprintf("%s.%d", path, i)
		}
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
	}
	return "", refused(fmt.Errorf("%s and 98 more are there already", path), "remove those that nobody needs")
}

// linkStep makes one link, and takes it back.
type linkStep struct {
	p            *planner
	path, target string
	noted        string // rec.Files[path] before
	ours         bool   // it was there
	before       hostfile.State
	kept         string // where the foreign file goes; "" if there is none
	keptNoted    bool   // rec.Kept[path] is this step's
	made         []string
}

func (s *linkStep) do(ctx context.Context) error {
	var err error
	if s.made, err = hostfile.MakeDirs(filepath.Dir(s.path)); err != nil {
		return err
	}
	if s.kept != "" {
		// A second name first, so that the path is never without a file.
		if err := os.Link(s.path, s.kept); err != nil {
			if err := os.Rename(s.path, s.kept); err != nil {
				return fmt.Errorf("keep %s aside: %w", s.path, err)
			}
		}
		if _, known := s.p.rec.Kept[s.path]; !known {
			s.p.rec.Kept[s.path], s.keptNoted = s.kept, true
		}
	}
	if err := durable.Symlink(s.target, s.path); err != nil {
		return err
	}
	s.p.rec.Files[s.path] = linkNote + s.target
	return hostfile.Relabel(ctx, s.path)
}

func (s *linkStep) undo() error {
	putNote(s.p.rec.Files, s.path, s.noted, s.ours)
	if s.keptNoted {
		delete(s.p.rec.Kept, s.path)
	}
	if s.kept == "" {
		return errors.Join(s.before.PutBack(s.path), hostfile.RemoveDirs(s.made))
	}
	return bringBack(s.kept, s.path)
}

// bringBack renames kept to path. Two names of one file are a rename that does
// nothing, so the second one is removed.
func bringBack(kept, path string) error {
	if _, err := os.Lstat(kept); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.Rename(kept, path); err != nil {
		return fmt.Errorf("bring %s back: %w", path, err)
	}
	return durable.Remove(kept)
}

// unlink plans to remove a link of ours, and brings back what was kept aside
// for it. What somebody else put there stays.
func (p *planner) unlink(path string) error {
	now, err := hostfile.Look(path)
	if err != nil {
		return err
	}
	noted := p.rec.Files[path]
	kept, wasKept := p.rec.Kept[path]
	if now.Type != hostfile.Absent && (now.Type != hostfile.Link || !leadsTo(path, now.Target, strings.TrimPrefix(noted, linkNote))) {
		p.warn("%s is not gofleet's any more: it stays", path)
		delete(p.rec.Files, path)
		delete(p.rec.Kept, path)
		return nil
	}
	old, err := hostfile.Look(kept)
	if wasKept && err != nil {
		return err
	}
	restore := wasKept && (old.Type == hostfile.File || old.Type == hostfile.Link)
	if now.Type == hostfile.Absent && !restore {
		delete(p.rec.Files, path)
		delete(p.rec.Kept, path)
		return nil
	}
	step := change.Step{Name: "remove " + path, Path: path, Diff: removedDiff(path, now)}
	if restore {
		step.Name, step.Diff = "bring back "+path, fmt.Sprintf("%s moved to %s\n", kept, path)
	}
	done := false
	step.Do = func(context.Context) error {
		done = true
		if restore {
			err = bringBack(kept, path)
		} else {
			err = durable.Remove(path)
		}
		if err == nil {
			delete(p.rec.Files, path)
			delete(p.rec.Kept, path)
		}
		return err
	}
	step.Undo = func() error {
		putNote(p.rec.Files, path, noted, true)
		putNote(p.rec.Kept, path, kept, wasKept)
		if !done {
			return nil
		}
		if _, err := os.Lstat(kept); restore && errors.Is(err, fs.ErrNotExist) {
			if err := os.Link(path, kept); err != nil {
				return err
			}
		}
		return now.PutBack(path)
	}
	p.steps = append(p.steps, step)
	return nil
}

func putNote(m map[string]string, path, value string, there bool) {
	if there {
		m[path] = value
	} else {
		delete(m, path)
	}
}
