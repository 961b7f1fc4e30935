package serve

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/packages"
	"github.com/gofleet/gofleet/agent/internal/precond"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// Directories of a distribution in a bundle: one of rpms, and of Debian's
// packages one for each architecture.
const rpmDir = "rpm"

// packaging is what a job does about the host's packages. The files that are
// needed are brought before anything changes.
type packaging struct {
	host *packages.Host
	plan *packages.Plan // nil: nothing lacks, or there is no bundle at hand
	tree tree.Manifest
	from string // directory of the host's distribution in the bundle
	dir  string // where its files lie on the host
	hint string // the way out of there being no bundle, if it is another one than usual
}

// lookForPackages finds out whether packages lack. Checks that they may change
// are judged when they are there.
func (j *job) lookForPackages(ctx context.Context) (err error) {
	s := &j.task.Spec
	if len(s.Packages) == 0 || j.task.Action != wire.Apply && j.task.Action != wire.Audit {
		return nil
	}
	if j.packaging.host, err = packages.Look(ctx, s.Packages, j.report.Facts.Distribution); err != nil || len(j.packaging.host.Lacks) == 0 {
		return err
	}
	for i := range j.report.Checks {
		if c := &j.report.Checks[i]; c.Status == wire.Fail && ofPackages(c.Name) {
			c.Status = wire.Warn
			c.Hint = "it is judged again when gofleet_packages are on the host; now: " + c.Hint
		}
	}
	return nil
}

// ofPackages tells the checks that a package may make good.
func ofPackages(check string) bool {
	return strings.HasPrefix(check, "cgo") || strings.HasPrefix(check, "command")
}

// planPackages gives the step that installs what lacks. Everything that a
// package system could refuse is asked for before.
func (j *job) planPackages(ctx context.Context) ([]change.Step, error) {
	p := &j.packaging
	if len(j.task.Spec.Packages) == 0 {
		return nil, nil
	}
	var err error
	// Once more: this is under the lock, which another run may have had that
	// installed packages since this one looked for them.
	if p.host, err = packages.Look(ctx, j.task.Spec.Packages, j.report.Facts.Distribution); err != nil {
		return nil, fmt.Errorf("gofleet_packages: %w", err)
	}
	p.host.Cut = slices.Clone(j.record.DoingPackages)
	if len(p.host.Lacks) == 0 {
		j.notePackages(j.record.DoingPackages) // a run that was cut had come to its end
		return nil, nil
	}
	if os.Geteuid() != 0 {
		return nil, wire.NewError(wire.KindNeedsRoot, errors.New("gofleet_packages: installing packages needs root"),
			"run with -b, or drop gofleet_packages and have "+strings.Join(p.host.Names(), ", ")+" installed by other means")
	}
	if p.host.Family == spec.Alpine {
		return nil, wire.NewError(wire.KindBaseline, fmt.Errorf("gofleet_packages: this host lacks %s, and gofleet installs no packages of Alpine", strings.Join(p.host.Names(), ", ")),
			"install them on the host with apk add --no-network and files that you carried there")
	}
	if j.task.Packages == nil {
		return j.packagesWithoutBundle()
	}
	if err := j.resolvePackages(ctx); err != nil {
		return nil, fmt.Errorf("gofleet_packages: %w", err)
	}
	return []change.Step{j.packageStep()}, nil
}

// packagesWithoutBundle describes what is known, or is the error of a host
// that would be changed.
func (j *job) packagesWithoutBundle() ([]change.Step, error) {
	p := &j.packaging
	why := j.task.NoPackages
	if why == "" {
		why = "no packages were offered"
	}
	if j.changes.Checking() && j.task.Action == wire.Audit {
		return []change.Step{{Name: p.host.Title()}}, nil
	}
	return nil, wire.NewError(wire.KindBaseline, fmt.Errorf("gofleet_packages: this host lacks %s: %s", strings.Join(p.host.Names(), ", "), why),
		cmp.Or(p.hint, "have gofleet_archives name a bundle with packages: gofleet bundle create --packages FILE --distribution NAME"))
}

// resolvePackages has the host's package system say what it would do.
func (j *job) resolvePackages(ctx context.Context) (err error) {
	p := &j.packaging
	if p.tree == nil {
		if p.tree, err = j.compare(ctx, wire.Event{Compare: true, Part: wire.PartPackages}, j.task.Packages.Tree); err != nil {
			return err
		}
	}
	if p.from, err = j.packageDir(); err != nil {
		return err
	}
	if p.host.Family != spec.Debian {
		p.plan, err = p.host.PlanRPM(ctx, p.files(), j.report.Facts.Machine)
		return err
	}
	index, err := j.packageIndex(ctx, path.Join(p.from, packages.IndexName))
	if err == nil {
		p.plan, err = p.host.Simulate(ctx, index)
	}
	return err
}

// packageDir is the directory with this host's packages: of its release of
// the distribution, or of all that begin with the same number.
func (j *job) packageDir() (string, error) {
	p, f := &j.packaging, j.report.Facts
	below := rpmDir
	if p.host.Family == spec.Debian {
		var ok bool
		if below, ok = j.platform.Debian(); !ok {
			below = j.platform.Arch // which no bundle has
		}
	}
	major, _, _ := strings.Cut(f.DistVersion, ".")
	for _, version := range []string{f.DistVersion, major} {
		dir := f.Distribution + "-" + version + "/" + below
		if e := p.tree.Find(dir); e != nil && e.Dir {
			return dir, nil
		}
	}
	var has []string
	for i := range p.tree {
		if e := &p.tree[i]; e.Dir && strings.Count(e.Path, "/") == 1 {
			has = append(has, e.Path)
		}
	}
	return "", wire.NewError(wire.KindBaseline, fmt.Errorf("%s has packages for %s, and this host is %s-%s/%s", j.task.Packages.Name, strings.Join(has, ", "), f.Distribution, f.DistVersion, below),
		fmt.Sprintf("make the bundle with --distribution %s-%s for this platform too", f.Distribution, f.DistVersion))
}

// files are the names of the files that the bundle has for this host.
func (p *packaging) files() (names []string) {
	for i := range p.tree {
		if e := &p.tree[i]; !e.Dir && path.Dir(e.Path) == p.from {
			names = append(names, path.Base(e.Path))
		}
	}
	return names
}

// packageIndex gets the index, which says what each package needs. It comes by
// itself: nothing is written to a host that is only looked at.
func (j *job) packageIndex(ctx context.Context, name string) ([]byte, error) {
	want := j.packaging.tree.Find(name)
	if want == nil || want.Dir {
		return nil, wire.NewError(wire.KindArchiveCorrupt, fmt.Errorf("%s has no %s", j.task.Packages.Name, name), "make the bundle again")
	}
	if err := j.out.Write(wire.Event{Index: name, Part: wire.PartPackages}); err != nil {
		return nil, err
	}
	select {
	case packed := <-j.trees:
		text, err := tree.UnpackText(packed)
		if err == nil && sha256.Sum256(text) != want.SHA256 {
			err = wire.NewError(wire.KindArchiveCorrupt, fmt.Errorf("%s is not the one that was promised", name), "run the same command again")
		}
		return text, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// receivePackages brings the files of the plan, those alone, and has them
// judged where signatures are the host's to judge.
func (j *job) receivePackages(ctx context.Context) error {
	p := &j.packaging
	if p.plan == nil {
		return nil
	}
	j.phaseBegins(string(wire.PartPackages))
	if err := p.host.WaitFree(ctx); err != nil {
		return fmt.Errorf("gofleet_packages: %w", err)
	}
	wanted := map[string]bool{path.Join(p.from, packages.IndexName): true}
	for _, name := range p.plan.Files {
		wanted[path.Join(p.from, name)] = true
	}
	isWanted := func(path string) bool { return wanted[path] }
	aside, err := j.store.Aside(ctx, wire.PartPackages, p.tree, isWanted)
	if err != nil {
		return err
	}
	if aside == "" {
		staged, err := j.bring(ctx, incoming{release: j.task.Packages, part: wire.PartPackages,
			gather: func(ctx context.Context) (*toolchain.Gathered, error) {
				return j.store.Pick(ctx, p.tree, isWanted)
			}})
		if err != nil {
			return err
		}
		if aside, err = j.store.SetAside(wire.PartPackages, staged); err != nil {
			return err
		}
	}
	j.options.fault("packages staged")
	p.dir = filepath.Join(aside, filepath.FromSlash(p.from))
	return p.plan.Check(ctx, p.dir)
}

// packageStep is announced in the record: a run that is cut must not leave what
// nobody knows.
func (j *job) packageStep() change.Step {
	p := &j.packaging
	before := slices.Clone(j.record.Packages)
	j.record.DoingPackages = p.plan.NewNames()
	return change.Step{
		Name: p.plan.Title(), Diff: p.plan.Diff(),
		Do: func(ctx context.Context) error {
			if len(p.host.Cut) > 0 {
				if err := p.host.Recover(ctx); err != nil {
					return err
				}
			}
			if err := p.plan.Install(ctx, p.dir); err != nil {
				return err
			}
			j.notePackages(p.plan.NewNames())
			return nil
		},
		Undo: func() error {
			j.record.Packages, j.record.DoingPackages = before, nil
			return p.plan.Uninstall(context.Background(), p.dir)
		},
	}
}

// notePackages notes what gofleet has installed.
func (j *job) notePackages(names []string) {
	for _, name := range names {
		if !slices.Contains(j.record.Packages, name) {
			j.record.Packages = append(j.record.Packages, name)
		}
	}
	slices.Sort(j.record.Packages)
	j.record.DoingPackages = nil
}

// judgePackages judges once more what packages may have made good.
func (j *job) judgePackages(ctx context.Context) error {
	if j.packaging.plan == nil {
		return nil
	}
	s := &j.task.Spec
	if err := j.lookForCgo(ctx, j.report.Facts); err != nil {
		return err
	}
	now := precond.Check(ctx, j.report.Facts, s, j.task.Now, precond.Installed{Bytes: j.state.DiskBytes, Inodes: j.state.Inodes})
	var checks []wire.Check
	for _, c := range j.report.Checks {
		if !ofPackages(c.Name) {
			checks = append(checks, c)
			continue
		}
		for _, c := range now { // all in the place of the first
			if ofPackages(c.Name) {
				checks = append(checks, c)
			}
		}
		now = nil
	}
	j.report.Checks = checks
	if err := unmet(checks); err != nil {
		return wire.NewError(wire.KindUnmet, err, "the check says what to do; what this run had changed was taken back")
	}
	return nil
}

// dropPackages removes the files that were brought, by this run or by one that
// was cut. A job that waits for an answer is to find them again.
func (j *job) dropPackages(err error) error {
	if errors.Is(err, errAsked) {
		return nil
	}
	return j.store.SweepFiles(context.Background(), wire.PartPackages)
}
