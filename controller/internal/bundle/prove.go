package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/gofleet/gofleet/controller/internal/release"
)

// ProvedModules counts the modules of a bundle by what speaks for them.
type ProvedModules struct {
	Public  int    `json:"public"`  // in the checksum database, with the hash that they have
	Private int    `json:"private"` // not in it: the signed manifest alone speaks for them
	Log     int64  `json:"log"`     // records in the log; 0: it is not in the bundle
	Notes   string `json:"notes"`   // what of the log could not be compared
}

// verifyModules proves the log and every module against it.
func (b *Bundle) verifyModules(ctx context.Context, o VerifyOptions, v *Verification) error {
	log, err := b.openLog(o)
	var wrong *release.LogError
	switch {
	case errors.As(err, &wrong):
		return b.logError(o, wrong)
	case err != nil:
		return err
	}
	if log != nil {
		v.Modules.Log, v.Modules.Notes = log.Size, log.Notes
	} else {
		log = &release.Log{}
	}
	errs := b.verifyToolchains(log)
	return errors.Join(append(errs, b.verifyHashes(ctx, o, log, v)...)...)
}

// logName is the directory of the checksum database.
func (o *VerifyOptions) logName() (string, error) {
	key := o.SumDB
	if key == "" {
		key = release.GoSumDB
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return "", fmt.Errorf("checksum database key: %w", err)
	}
	return path.Join(sumdbDir, verifier.Name()), nil
}

// openLog gives nil if there is none in the bundle.
func (b *Bundle) openLog(o VerifyOptions) (*release.Log, error) {
	dir, err := o.logName()
	if err != nil {
		return nil, err
	}
	if _, err := b.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	sub, err := fs.Sub(b, dir)
	if err != nil {
		return nil, err
	}
	return release.OpenLog(sub, o.SumDB, o.CacheDir, o.Older)
}

func (b *Bundle) logError(o VerifyOptions, wrong *release.LogError) error {
	dir, err := o.logName()
	if err != nil {
		return err
	}
	e := &Error{Bundle: b.path, What: path.Join(dir, wrong.File), Reason: wrong.Reason, Hint: wrongHint, cause: wrong}
	switch {
	case wrong.Older:
		e.Layer, e.Hint = TreeHead, "take a newer bundle; if this one is older on purpose, verify it with --older"
	case wrong.Head:
		e.Layer = TreeHead
	default:
		e.Layer = layerOf(e.What)
	}
	return e
}

// verifyToolchains compares what the log says of the toolchains with what the
// evidence beside the archives does.
func (b *Bundle) verifyToolchains(log *release.Log) []error {
	var errs []error
	for _, name := range b.Archives() {
		n, err := release.ParseName(name)
		if err != nil {
			continue
		}
		m, ok := release.ToolchainModule(n)
		file := path.Join(ArchivesDir, name+release.EvidenceSuffix)
		recorded := log.Lines[m.Path+" "+m.Version]
		if _, there := b.index[file]; !ok || !there || recorded == "" {
			continue
		}
		text, err := b.ReadFile(file)
		if err == nil {
			var proof *release.Proof
			if proof, err = release.ParseProof(text); err == nil && proof.H1 != recorded {
				err = fmt.Errorf("it says %s, the log in the bundle %s", proof.H1, recorded)
			}
		}
		if err != nil {
			errs = append(errs, &Error{Bundle: b.path, Layer: Evidence, What: file, Reason: err.Error(), Hint: wrongHint})
		}
	}
	return errs
}

// verifyHashes compares the hash of every module with the log's.
func (b *Bundle) verifyHashes(ctx context.Context, o VerifyOptions, log *release.Log, v *Verification) []error {
	var files []int
	var total int64
	for i, f := range b.manifest.Files {
		if l := layerOf(f.Path); (l == ModuleZip || l == Module) && (path.Ext(f.Path) == ".zip" || path.Ext(f.Path) == ".mod") {
			files = append(files, i)
			total += f.Size
		}
	}
	if len(files) == 0 {
		return nil
	}
	work := beginWork(o.Progress, "prove modules of "+filepath.Base(b.path))
	found := make([]error, len(files))
	var public, private, done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n, i := range files {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			known, err := b.verifyHash(i, log)
			found[n] = err
			if path.Ext(b.manifest.Files[i].Path) == ".zip" {
				if known {
					public.Add(1)
				} else {
					private.Add(1)
				}
			}
			work.Set(done.Add(b.manifest.Files[i].Size), total)
			return nil
		})
	}
	err := g.Wait()
	work.End(err)
	v.Modules.Public, v.Modules.Private = int(public.Load()), int(private.Load())
	var errs []error
	for _, err := range append(found, err) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// verifyHash compares one .zip or .mod with the log; known says whether the log
// has it.
func (b *Bundle) verifyHash(i int, log *release.Log) (known bool, err error) {
	f := b.manifest.Files[i]
	m, ok := versionOf(f.Path)
	if !ok {
		return false, b.errorAt(i, "its name is not that of a module's file", nil)
	}
	key := m.Path + " " + m.Version
	if path.Ext(f.Path) == ".mod" {
		key += "/go.mod"
	}
	want, known := log.Lines[key]
	if !known {
		return false, nil
	}
	got, err := b.hash(i)
	if err == nil && got != want {
		err = fmt.Errorf("it has %s, the checksum database recorded %s", got, want)
	}
	if err != nil {
		return true, &Error{Bundle: b.path, Layer: layerOf(f.Path), What: f.Path, Reason: err.Error(), Hint: wrongHint, cause: err}
	}
	return true, nil
}

// hash is the h1 of a module's zip or go.mod.
func (b *Bundle) hash(i int) (string, error) {
	f := b.manifest.Files[i]
	if path.Ext(f.Path) == ".mod" {
		data, err := b.ReadFile(f.Path)
		if err != nil {
			return "", err
		}
		return dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data)), nil
		})
	}
	r, err := b.reader(i)
	if err != nil {
		return "", err
	}
	defer r.Close()
	z, err := zip.NewReader(r, f.Size)
	if err != nil {
		return "", err
	}
	names := make([]string, len(z.File))
	byName := make(map[string]*zip.File, len(z.File))
	for i, file := range z.File {
		names[i] = file.Name
		byName[file.Name] = file
	}
	if len(byName) != len(names) {
		return "", errors.New("a file is in it twice")
	}
	return dirhash.Hash1(names, func(name string) (io.ReadCloser, error) { return byName[name].Open() })
}

// versionOf says which module the file with that path is of.
func versionOf(p string) (module.Version, bool) {
	rest, ok := strings.CutPrefix(p, ModulesDir+"/")
	escaped, file, cut := strings.Cut(rest, "/@v/")
	if !ok || !cut {
		return module.Version{}, false
	}
	mod, err := module.UnescapePath(escaped)
	if err != nil {
		return module.Version{}, false
	}
	v, err := module.UnescapeVersion(strings.TrimSuffix(file, path.Ext(file)))
	return module.Version{Path: mod, Version: v}, err == nil
}

// verifyNeeds makes sure that everything that a go.mod and its go.sum name is
// in the bundle, with the hash in go.sum, and a toolchain that is new enough.
func (b *Bundle) verifyNeeds(file string, v *Verification) []error {
	if st, err := os.Stat(file); err == nil && st.IsDir() {
		file = filepath.Join(file, "go.mod")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return []error{err}
	}
	mod, err := modfile.Parse(file, text, nil)
	if err != nil {
		return []error{err}
	}
	here, err := vendored(file, mod)
	if err != nil {
		return []error{&Error{Bundle: b.path, Layer: Module, What: file, Reason: err.Error(), Hint: "go mod vendor makes vendor/ anew"}}
	}
	if here {
		v.Vendored = append(v.Vendored, file)
		return b.verifyGo(file, mod)
	}
	sum, err := os.ReadFile(strings.TrimSuffix(file, ".mod") + ".sum")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []error{err}
	}
	selected := selectedVersions(mod)
	sum = withSelected(sum, selected)
	var errs []error
	missing := func(layer Layer, what, reason string) {
		errs = append(errs, &Error{Bundle: b.path, Layer: layer, What: what, Reason: fmt.Sprintf("%s %s", file, reason),
			Hint: "make the bundle again, with gofleet bundle create --modules " + file})
	}
	for line := range strings.Lines(string(sum)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		m := module.Version{Path: f[0], Version: strings.TrimSuffix(f[1], "/go.mod")}
		suffix, layer := ".zip", ModuleZip
		if m.Version != f[1] {
			suffix, layer = ".mod", Module
		} else if selected != nil && selected[m.Path] != m.Version {
			continue // a line that go mod tidy would drop
		}
		name, err := versionFile(m, suffix)
		if err != nil {
			continue
		}
		i, there := b.index[ModulesDir+"/"+name]
		switch {
		case !there && suffix == ".mod" && selected != nil && selected[m.Path] != m.Version:
			continue // of the graph; go asks for it only where it is not pruned
		case !there:
			missing(layer, ModulesDir+"/"+name, "needs it, and it is not in the bundle")
			continue
		}
		if f[2] == "-" {
			continue
		}
		switch got, err := b.hash(i); {
		case err != nil:
			missing(layer, ModulesDir+"/"+name, fmt.Sprintf("wants %s: %v", f[2], err))
		case got != f[2]:
			missing(layer, ModulesDir+"/"+name, fmt.Sprintf("wants %s, it has %s", f[2], got))
		}
	}
	return append(errs, b.verifyGo(file, mod)...)
}

// verifyGo makes sure that there is a toolchain that is new enough.
func (b *Bundle) verifyGo(file string, mod *modfile.File) []error {
	if mod.Go == nil || len(b.Archives()) == 0 || b.hasGo(mod.Go.Version) {
		return nil
	}
	return []error{&Error{Bundle: b.path, Layer: Archive,
		Reason: fmt.Sprintf("%s needs Go %s or later; the bundle has no such release", file, mod.Go.Version),
		Hint:   "make the bundle again, with gofleet bundle create --go " + mod.Go.Version}}
}

// selectedVersions are the versions that are built, where go.mod lists them
// all: from Go 1.17 on. Else it is nil.
func selectedVersions(mod *modfile.File) map[string]string {
	if mod.Go == nil || semver.Compare("v"+mod.Go.Version, "v1.17") < 0 {
		return nil
	}
	selected := map[string]string{}
	for _, r := range mod.Require {
		selected[r.Mod.Path] = r.Mod.Version
	}
	for _, r := range mod.Replace {
		if v, ok := selected[r.Old.Path]; ok && (r.Old.Version == "" || r.Old.Version == v) {
			delete(selected, r.Old.Path)
			if r.New.Version != "" {
				selected[r.New.Path] = r.New.Version
			}
		}
	}
	return selected
}

// withSelected adds to a go.sum what go.mod selects and it does not name: all
// where there is none, and what was added to go.mod since. "-" is for no hash.
func withSelected(sum []byte, selected map[string]string) []byte {
	named := map[string]bool{}
	for line := range strings.Lines(string(sum)) {
		if f := strings.Fields(line); len(f) == 3 {
			named[f[0]+" "+strings.TrimSuffix(f[1], "/go.mod")] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(selected)) {
		if v := selected[p]; !named[p+" "+v] {
			sum = fmt.Appendf(sum, "\n%s %s -", p, v)
		}
	}
	return sum
}

// hasGo tells whether a release is there that is at least that version.
func (b *Bundle) hasGo(v string) bool {
	for _, name := range b.Archives() {
		if n, err := release.ParseName(name); err == nil && !release.Newer(v, n.Version) {
			return true
		}
	}
	return false
}
