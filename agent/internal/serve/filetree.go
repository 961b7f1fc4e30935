package serve

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// files is what a job does about one of the host's file trees: its module
// cache, or the sources for a GOPATH. The new one is brought before anything
// else changes, into a directory that nothing leads to; the link is switched
// with the toolchain's.
type files struct {
	*toolchain.FileTree
	wanted bool          // the host is to have one in the end
	offer  *wire.Release // nil: none is wanted, or the controller of an audit has it not at hand
	want   tree.Manifest // nil: nothing is to be brought
	dir    string        // what was brought, or lay there from a run that was cut
}

// planFiles looks at modules and sources.
func (j *job) planFiles(ctx context.Context) (err error) {
	s, remove := &j.task.Spec, j.task.Action == wire.Remove
	if j.modules, err = j.planTree(ctx, wire.PartModules, s.Modules != nil && !remove, j.task.Modules); err != nil {
		return err
	}
	j.sources, err = j.planTree(ctx, wire.PartGopath, s.Gopath != nil && !remove, j.task.Gopath)
	return err
}

// planTree looks at a file tree and, where it is not the wanted one, gets the
// list of what should be there.
func (j *job) planTree(ctx context.Context, part wire.Part, wanted bool, offer *wire.Release) (*files, error) {
	have, err := j.store.InspectFiles(ctx, part, j.task.Deep)
	if err != nil {
		return nil, err
	}
	f := &files{FileTree: have, wanted: wanted}
	if !wanted {
		return f, nil // what is there goes, however it looks
	}
	j.report.Drift = append(j.report.Drift, have.Drift...)
	f.offer = offer
	switch {
	case offer == nil && j.changes.Checking():
		return f, nil // an audit whose controller has no bundle at hand
	case offer == nil:
		return nil, wire.NewError(wire.KindProtocol, fmt.Errorf("the controller offers no %s", part), "")
	case have.Has(*offer):
		return f, nil
	}
	if f.want = have.Known(*offer); f.want == nil {
		f.want, err = j.compare(ctx, wire.Event{Compare: true, Part: part}, offer.Tree)
	}
	return f, err
}

// receiveFiles brings packages, modules and sources that are wanted and not there.
func (j *job) receiveFiles(ctx context.Context) error {
	return errors.Join(j.receivePackages(ctx), j.receiveTree(ctx, j.modules), j.receiveTree(ctx, j.sources))
}

func (j *job) receiveTree(ctx context.Context, f *files) (err error) {
	if f.want == nil {
		return nil
	}
	j.phaseBegins(string(f.Part))
	if f.dir, err = j.store.Spare(ctx, f.FileTree, *f.offer); err != nil || f.dir != "" {
		return err
	}
	staged, err := j.bring(ctx, incoming{release: f.offer, part: f.Part,
		gather: func(ctx context.Context) (*toolchain.Gathered, error) {
			return j.store.GatherFiles(ctx, f.FileTree, f.want)
		}})
	if err != nil {
		return err
	}
	j.options.fault(string(f.Part) + " staged")
	f.dir, err = j.store.CommitFiles(f.FileTree, staged)
	j.options.fault(string(f.Part) + " committed")
	return err
}

// verb is what bringing it is called.
func (f *files) verb() string {
	switch {
	case f.offer != nil && f.Known(*f.offer) != nil:
		return "repair"
	case f.Dir != "":
		return "update"
	}
	return "install"
}

// moduleSteps gives the step that has GOPROXY lead to the new cache.
func (j *job) moduleSteps() []change.Step {
	m := j.modules
	if m.want == nil {
		return nil
	}
	files, size := m.Lacking(m.want)
	return []change.Step{{
		Name: fmt.Sprintf("%s modules: %d of %d files, %s", m.verb(), files, m.offer.Tree.Files, spec.FormatSize(size)),
		Diff: modulesDiff(j.store.FilesLink(m.Part), m.Tree, m.want),
		Do:   func(context.Context) error { return j.store.SwitchFiles(m.Part, m.dir) },
		Undo: func() error { return j.store.SwitchFiles(m.Part, m.Dir) },
	}}
}

// removeModuleSteps takes away a module cache that the inventory does not ask
// for.
func (j *job) removeModuleSteps() []change.Step {
	m := j.modules
	if m.Dir == "" || m.wanted {
		return nil
	}
	return []change.Step{{
		Name: "remove modules",
		Diff: modulesDiff(j.store.FilesLink(m.Part), m.Tree, nil),
		Do:   func(context.Context) error { return j.store.SwitchFiles(m.Part, "") },
		Undo: func() error { return j.store.SwitchFiles(m.Part, m.Dir) },
	}}
}

// sweepFiles removes the trees that nothing leads to any more. The job is done
// then, and does not fail for it.
func (j *job) sweepFiles(ctx context.Context) {
	for _, part := range []wire.Part{wire.PartModules, wire.PartGopath} {
		if err := j.store.SweepFiles(ctx, part); err != nil {
			j.warn(fmt.Sprintf("%s that are not needed stay until a later run: %v", part, err))
		}
	}
}

// modulesDiff lists the modules that come and go, those of which there is
// content.
func modulesDiff(path string, old, want tree.Manifest) string {
	var b strings.Builder
	fmt.Fprintf(&b, "--- %[1]s\n+++ %[1]s\n", path)
	i, k := 0, 0
	for i < len(old) || k < len(want) {
		switch {
		case k == len(want) || i < len(old) && old[i].Path < want[k].Path:
			writeModule(&b, '-', old[i].Path)
			i++
		case i == len(old) || want[k].Path < old[i].Path:
			writeModule(&b, '+', want[k].Path)
			k++
		default:
			i, k = i+1, k+1
		}
	}
	return b.String()
}

func writeModule(b *strings.Builder, sign byte, path string) {
	name, isZip := strings.CutSuffix(strings.TrimPrefix(path, "download/"), ".zip")
	if module, version, ok := strings.Cut(name, "/@v/"); ok && isZip {
		fmt.Fprintf(b, "%c%s %s\n", sign, module, version)
	}
}
