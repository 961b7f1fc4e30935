package bundle

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/distro"
)

// Distribution is one whose hosts are to get packages.
type Distribution struct {
	Name string // ID and VERSION_ID of its os-release: debian-12
	Dir  string // of rpms that are taken as they are; "": apt resolves
}

// Names of what a distribution's directory has beside its packages.
const (
	packagesIndex    = "Packages"
	packagesEvidence = "evidence"
	rpmDir           = "rpm"
)

// packages gets the packages for every distribution, and on those that apt
// resolves for every platform.
func (o *CreateOptions) packages(ctx context.Context) ([]Source, error) {
	if len(o.Distributions) == 0 {
		return nil, nil
	}
	var all []Source
	for _, d := range o.Distributions {
		if d.Dir != "" {
			rpms, err := rpmSources(d)
			if err != nil {
				return nil, err
			}
			all = append(all, rpms...)
			continue
		}
		for _, p := range o.Platforms {
			if p.OS != "linux" {
				continue
			}
			sources, err := o.resolved(ctx, d.Name, p)
			if err != nil {
				return nil, fmt.Errorf("packages of %s: %w", d.Name, err)
			}
			all = append(all, sources...)
		}
	}
	return all, nil
}

// resolved are the packages of one release for one platform.
func (o *CreateOptions) resolved(ctx context.Context, name string, p spec.Platform) ([]Source, error) {
	release, err := distro.Find(name)
	if err != nil {
		return nil, err
	}
	arch, ok := p.Debian()
	if !ok {
		return nil, fmt.Errorf("no architecture of Debian is %s", p.Arch)
	}
	names := make([]string, len(o.Packages))
	for i, pkg := range o.Packages {
		names[i] = pkg.In(spec.Debian)
	}
	work := beginWork(o.Fetch.Progress, "get packages of "+name+" for "+p.String())
	got, err := distro.Resolve(ctx, distro.Options{Release: release, Architecture: arch, Packages: names, Mirror: o.PackageMirror, CacheDir: o.PackageCache})
	work.End(err)
	if err != nil {
		return nil, err
	}
	dir := path.Join(PackagesDir, name, arch)
	var index strings.Builder
	var all []Source
	for _, pkg := range got.Packages {
		s, err := fileSource(path.Join(dir, pkg.File()), filepath.Join(got.Dir, pkg.File()), 0o644)
		if err != nil {
			return nil, err
		}
		s.SHA256 = pkg.SHA256
		all = append(all, s)
		index.WriteString(pkg.Index())
	}
	for _, suite := range got.Suites {
		all = append(all, BytesSource(path.Join(dir, packagesEvidence, suite.Name+".InRelease"), 0o644, suite.InRelease))
	}
	return append(all,
		BytesSource(path.Join(dir, packagesIndex), 0o644, []byte(index.String())),
		BytesSource(path.Join(dir, packagesEvidence, "README"), 0o644, []byte(evidenceText(release, arch, names, got)))), nil
}

// evidenceText says where packages are from and why they were believed.
func evidenceText(release distro.Release, arch string, names []string, got *distro.Resolved) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s) %s: %s\n", release.Name, release.Codename, arch, strings.Join(names, " "))
	fmt.Fprintf(&b, "%d packages that a clean release, of %d packages, does not have\n", len(got.Packages), got.Base)
	for _, s := range got.Suites {
		fmt.Fprintf(&b, "suite %s of %s, signed by %s\n", s.Name, s.Date, s.Signer)
	}
	return b.String()
}

// rpmSources are the rpms of a directory. Their signatures are for hosts to
// check, which have the distribution's keys.
func rpmSources(d Distribution) ([]Source, error) {
	entries, err := os.ReadDir(d.Dir)
	if err != nil {
		return nil, fmt.Errorf("packages of %s: %w", d.Name, err)
	}
	var all []Source
	for _, e := range entries {
		if path.Ext(e.Name()) != ".rpm" {
			continue
		}
		s, err := fileSource(path.Join(PackagesDir, d.Name, rpmDir, e.Name()), filepath.Join(d.Dir, e.Name()), 0o644)
		if err != nil {
			return nil, fmt.Errorf("packages of %s: %w", d.Name, err)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("packages of %s: %s has no rpms", d.Name, d.Dir)
	}
	return all, nil
}

// checkPackages wants packages and distributions to go together.
func (o *CreateOptions) checkPackages() error {
	resolves := slices.ContainsFunc(o.Distributions, func(d Distribution) bool { return d.Dir == "" })
	switch {
	case len(o.Packages) > 0 && len(o.Distributions) == 0:
		return errors.New("packages are of a distribution: say of which")
	case resolves && len(o.Packages) == 0:
		return errors.New("no packages are named for the distributions")
	}
	return nil
}

// Resolvable are the distributions that apt resolves.
func Resolvable() []string { return distro.Names() }

// ListedPackage is a package of a distribution.
type ListedPackage struct {
	Distribution string `json:"distribution"` // debian-12
	Name         string `json:"name"`
	Version      string `json:"version"`
	Arch         string `json:"arch"` // as the distribution calls it
	Size         int64  `json:"size"` // of the file

	dir string // below the distribution: an architecture, or rpm
}

// packageOf says which package a file is, by its name: that of a .deb has its
// version without a colon.
func packageOf(f File) (p ListedPackage, ok bool) {
	parts := strings.Split(f.Path, "/")
	if len(parts) != 4 || parts[0] != PackagesDir {
		return p, false
	}
	p = ListedPackage{Distribution: parts[1], Size: f.Size, dir: parts[2]}
	if stem, isDeb := strings.CutSuffix(parts[3], ".deb"); isDeb {
		fields := strings.Split(stem, "_")
		if len(fields) != 3 {
			return p, false
		}
		p.Name, p.Version, p.Arch = fields[0], strings.ReplaceAll(fields[1], "%3a", ":"), fields[2]
		return p, true
	}
	stem, isRPM := strings.CutSuffix(parts[3], ".rpm")
	dot := strings.LastIndexByte(stem, '.')
	if !isRPM || dot < 0 {
		return p, false
	}
	stem, p.Arch = stem[:dot], stem[dot+1:]
	release := strings.LastIndexByte(stem, '-')
	if release < 0 {
		return p, false
	}
	version := strings.LastIndexByte(stem[:release], '-')
	if version <= 0 {
		return p, false
	}
	p.Name, p.Version = stem[:version], stem[version+1:]
	return p, true
}

// purl is the package's URL, as SBOMs have it.
func (p ListedPackage) purl() string {
	kind := "deb"
	if p.dir == rpmDir {
		kind = "rpm"
	}
	vendor, _, _ := strings.Cut(p.Distribution, "-")
	escape := func(s string) string { return strings.ReplaceAll(url.PathEscape(s), "+", "%2B") }
	return fmt.Sprintf("pkg:%s/%s/%s@%s?arch=%s&distro=%s", kind, vendor, escape(p.Name), escape(p.Version), p.Arch, p.Distribution)
}
