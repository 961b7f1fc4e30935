package serve

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/gopath"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/tree"
)

// sourceSteps gives the steps that have the sources of gofleet_gopath, and no
// file of an earlier run that they have no more, in the deploy user's GOPATH,
// and take them away from where they were before.
func (j *job) sourceSteps(ctx context.Context) ([]change.Step, error) {
	f := j.sources
	cut, err := j.store.Committed(f.FileTree)
	if err != nil {
		return nil, err
	}
	place, steps := j.gopath(), []change.Step(nil)
	for _, p := range j.record.Gopath {
		if f.wanted && p == place {
			continue
		}
		trees := gopath.Trees{Old: f.Tree, Cut: cut}
		plan, err := gopath.Look(ctx, p, trees)
		if err != nil {
			return nil, err
		}
		steps = append(steps, j.sourceStep(p, plan, fmt.Sprintf("remove sources from %s: %d files", p, plan.Files), trees))
	}
	if !f.wanted {
		if len(steps) == 0 && f.Dir != "" { // that nobody knows the place of
			steps = append(steps, change.Step{Name: "remove kept sources",
				Do:   func(context.Context) error { return j.linkSources(nil) },
				Undo: func() error { return j.store.SwitchFiles(f.Part, f.Dir) },
			})
		}
		return steps, nil
	}
	there := slices.Contains(j.record.Gopath, place)
	trees := gopath.Trees{Want: f.want, Cut: cut}
	if trees.Want == nil {
		trees.Want = f.Tree
	}
	if there {
		trees.Old = f.Tree
	}
	plan, err := gopath.Look(ctx, place, trees)
	if err != nil {
		return nil, err
	}
	j.report.Drift = append(j.report.Drift, plan.Drift...)
	if f.want == nil && len(plan.Write)+len(plan.Remove) == 0 && (there || trees.Want == nil) {
		return steps, nil
	}
	name := fmt.Sprintf("%s sources in %s: %d to write, %d to remove", f.verb(), place, len(plan.Write), plan.Files)
	return append(steps, j.sourceStep(place, plan, name, trees)), nil
}

// gopath is where the sources are to be, if they are wanted.
func (j *job) gopath() (p record.Gopath) {
	s := &j.task.Spec
	if s.Gopath != nil {
		p.Path = s.Gopath.Path
	}
	if s.User != nil {
		p.User = s.User.Name
	}
	return p
}

// sourceStep makes what a plan says, or what has become of it, and has the link
// lead to what was brought. Taking it back brings what Old has.
func (j *job) sourceStep(p record.Gopath, plan *gopath.Plan, name string, t gopath.Trees) change.Step {
	f := j.sources
	before := slices.Contains(j.record.Gopath, p)
	j.noteGopath(p, true) // announced: a run that is cut must not leave what nobody knows
	return change.Step{
		Name: name, Diff: plan.Diff(p),
		Do: func(ctx context.Context) error {
			if err := put(ctx, p, t, filesOf(f.dir, f.Dir)); err != nil {
				return err
			}
			j.noteGopath(p, t.Want != nil)
			return j.linkSources(t.Want)
		},
		Undo: func() error {
			j.noteGopath(p, before)
			back := gopath.Trees{Want: t.Old, Old: t.Want, Cut: t.Cut}
			if err := put(context.Background(), p, back, filesOf(f.Dir)); err != nil {
				return err
			}
			return j.store.SwitchFiles(f.Part, f.Dir)
		},
	}
}

// noteGopath notes whether a place has sources.
func (j *job) noteGopath(p record.Gopath, has bool) {
	var places []record.Gopath
	for _, other := range j.record.Gopath {
		if other != p {
			places = append(places, other)
		}
	}
	if has {
		places = append(places, p)
	}
	j.record.Gopath = places
}

// linkSources has the link lead to the tree that the GOPATH has now.
func (j *job) linkSources(want tree.Manifest) error {
	switch f := j.sources; {
	case want != nil && f.dir != "":
		return j.store.SwitchFiles(f.Part, f.dir)
	case !f.wanted && len(j.record.Gopath) == 0:
		return j.store.SwitchFiles(f.Part, "")
	}
	return nil
}

func put(ctx context.Context, p record.Gopath, t gopath.Trees, from string) error {
	plan, err := gopath.Look(ctx, p, t)
	if err != nil {
		return err
	}
	return plan.Do(ctx, from)
}

// filesOf is where the files of the first tree that there is lie.
func filesOf(dirs ...string) string {
	for _, dir := range dirs {
		if dir != "" {
			return filepath.Join(dir, toolchain.FilesName)
		}
	}
	return ""
}
