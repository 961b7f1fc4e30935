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

// modules is what a job does about the host's module cache. The new one is
// brought before anything else changes, into a directory that nothing leads
// to; the link is switched with the toolchain's.
type modules struct {
	*toolchain.Modules
	want tree.Manifest // nil: nothing is to be brought
	dir  string        // what was brought, or lay there from a run that was cut
}

// wantsModules reports whether the host is to have a module cache in the end.
func (j *job) wantsModules() bool { return j.task.Spec.Modules != nil && j.task.Action != wire.Remove }

// planModules looks at the module cache and, where it is not the wanted one,
// gets the list of what should be there.
func (j *job) planModules(ctx context.Context) error {
	have, err := j.store.InspectModules(ctx, j.task.Deep)
	if err != nil {
		return err
	}
	j.modules = &modules{Modules: have}
	if !j.wantsModules() {
		return nil // what is there goes, however it looks
	}
	j.report.Drift = append(j.report.Drift, have.Drift...)
	want := j.task.Modules
	if want == nil {
		if j.changes.Checking() {
			return nil // an audit whose controller has no bundle at hand
		}
		return wire.NewError(wire.KindProtocol, errors.New("the controller offers no module cache"), "")
	}
	if have.Has(*want) {
		return nil
	}
	if j.modules.want = have.Known(*want); j.modules.want == nil {
		j.modules.want, err = j.compare(ctx, wire.Event{Compare: true, Modules: true}, want.Tree)
	}
	return err
}

// receiveModules brings a module cache that is wanted and not there.
func (j *job) receiveModules(ctx context.Context) (err error) {
	m := j.modules
	if m.want == nil {
		return nil
	}
	j.phaseBegins("modules")
	if m.dir, err = j.store.Spare(ctx, m.Modules, *j.task.Modules); err != nil || m.dir != "" {
		return err
	}
	staged, err := j.bring(ctx, incoming{release: j.task.Modules, modules: true,
		gather: func(ctx context.Context) (*toolchain.Gathered, error) {
			return j.store.GatherModules(ctx, m.Modules, m.want)
		}})
	if err != nil {
		return err
	}
	j.options.fault("modules staged")
	m.dir, err = j.store.CommitModules(m.Modules, staged)
	j.options.fault("modules committed")
	return err
}

// moduleSteps gives the step that has GOPROXY lead to the new cache.
func (j *job) moduleSteps() []change.Step {
	m := j.modules
	if m.want == nil {
		return nil
	}
	files, size := m.Lacking(m.want)
	verb := "install"
	switch {
	case m.Known(*j.task.Modules) != nil:
		verb = "repair"
	case m.Dir != "":
		verb = "update"
	}
	return []change.Step{{
		Name: fmt.Sprintf("%s modules: %d of %d files, %s", verb, files, j.task.Modules.Tree.Files, spec.FormatSize(size)),
		Diff: modulesDiff(j.store.ModulesLink(), m.Tree, m.want),
		Do:   func(context.Context) error { return j.store.SwitchModules(m.dir) },
		Undo: func() error { return j.store.SwitchModules(m.Dir) },
	}}
}

// removeModuleSteps takes away a module cache that the inventory does not ask
// for.
func (j *job) removeModuleSteps() []change.Step {
	m := j.modules
	if m.Dir == "" || j.wantsModules() {
		return nil
	}
	return []change.Step{{
		Name: "remove modules",
		Diff: modulesDiff(j.store.ModulesLink(), m.Tree, nil),
		Do:   func(context.Context) error { return j.store.SwitchModules("") },
		Undo: func() error { return j.store.SwitchModules(m.Dir) },
	}}
}

// sweepModules removes the caches that nothing leads to any more. The job is
// done then, and does not fail for it.
func (j *job) sweepModules(ctx context.Context) {
	if err := j.store.SweepModules(ctx); err != nil {
		j.warn(fmt.Sprintf("a module cache that is not needed stays until a later run: %v", err))
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
