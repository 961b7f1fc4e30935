package distro

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Options say what is wanted.
type Options struct {
	Release      Release
	Architecture string   // Debian's name
	Packages     []string // by the names that they have in the release
	Mirror       string   // "": the archive that this machine's apt uses
	CacheDir     string   // kept between runs: indexes and packages; one for all
	Log          func(text string)
}

// Resolved are the packages that a clean release lacks, and why they are
// believed.
type Resolved struct {
	Packages []Stanza // by name, with their files
	Dir      string   // where the files lie, by their names
	Suites   []Suite
	Base     int // packages of the clean release
}

// Suite is a signed list of indexes that was used.
type Suite struct {
	Name, Date, Signer string // the key's fingerprint
	InRelease          []byte
}

// Resolve gets packages. A clean release is what its essential and required
// packages make, with apt: what every installation and container has.
func Resolve(ctx context.Context, o Options) (*Resolved, error) {
	program, err := exec.LookPath("apt-get")
	if err != nil {
		return nil, fmt.Errorf("packages of %s are resolved by apt, which this machine does not have: %w", o.Release.Name, err)
	}
	if err := o.Release.checkKeyring(); err != nil {
		return nil, err
	}
	root, err := filepath.Abs(filepath.Join(o.CacheDir, o.Release.Name+"-"+o.Architecture))
	if err != nil {
		return nil, err
	}
	a := &apt{program: program, root: root}
	lines, err := a.configured(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.lay(ctx, o, lines); err != nil {
		return nil, fmt.Errorf("prepare apt for %s: %w", o.Release.Name, err)
	}
	if _, err := a.run(ctx, "update"); err != nil {
		return nil, err
	}
	r := &Resolved{Dir: a.archives()}
	if r.Suites, err = a.suites(o.Release); err != nil {
		return nil, err
	}
	index, err := a.index(ctx)
	if err != nil {
		return nil, err
	}
	base, err := a.clean(ctx, index)
	if err != nil {
		return nil, err
	}
	r.Base = len(base)
	return r, a.fetch(ctx, o.Packages, index, base, r)
}

// apt is the machine's apt in a root of its own.
type apt struct{ program, root string }

func (a *apt) at(name string) string { return filepath.Join(a.root, name) }
func (a *apt) archives() string      { return a.at("cache/archives") }

// configured lists the archives of the machine's own apt.
func (a *apt) configured(ctx context.Context) ([]string, error) {
	out, err := output(exec.CommandContext(ctx, a.program, "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"))
	return strings.Split(out, "\n"), err
}

// lay makes the root. How files are fetched is as the machine is configured,
// proxies for one; nothing else of its configuration counts.
func (a *apt) lay(ctx context.Context, o Options, lines []string) error {
	sources, err := o.Release.sources(o.Mirror, lines)
	if err != nil {
		return err
	}
	for _, dir := range []string{"etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "etc/trusted.gpg.d", "lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(a.at(dir), 0o755); err != nil {
			return err
		}
	}
	acquire, err := output(exec.CommandContext(ctx, "apt-config", "dump", "Acquire"))
	if err != nil {
		return err
	}
	var conf, list strings.Builder
	conf.WriteString(acquire)
	for _, kv := range [][2]string{
		{"Dir", a.root + "/"}, {"Dir::State", a.root}, {"Dir::State::status", a.at("status")}, {"Dir::State::lists", a.at("lists")},
		{"Dir::State::extended_states", a.at("extended_states")},
		{"Dir::Cache", a.at("cache")}, {"Dir::Etc", a.at("etc")}, {"Dir::Log", a.root},
		{"APT::Architecture", o.Architecture}, {"APT::Architectures", o.Architecture}, {"APT::Install-Recommends", "false"},
		{"APT::Sandbox::User", ""}, {"APT::Update::Error-Mode", "any"}, {"Acquire::Languages", "none"}, {"Acquire::GzipIndexes", "false"},
		{"Acquire::AllowInsecureRepositories", "false"}, {"Debug::NoLocking", "true"},
	} {
		fmt.Fprintf(&conf, "%s %q;\n", kv[0], kv[1])
	}
	for _, s := range sources {
		fmt.Fprintf(&list, "deb [arch=%s signed-by=%s] %s %s %s\n", o.Architecture, o.Release.Keyring(), s.uri, s.suite, s.components)
	}
	return errors.Join(
		os.WriteFile(a.at("apt.conf"), []byte(conf.String()), 0o644),
		os.WriteFile(a.at("etc/sources.list"), []byte(list.String()), 0o644),
		os.WriteFile(a.at("status"), nil, 0o644))
}

func (a *apt) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, a.program, args...)
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.at("apt.conf"), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	return output(cmd)
}

// output runs a program; what it complains of is the error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String())
		if n := strings.Index(stdout.String(), "The following packages have unmet"); n >= 0 {
			said = stdout.String()[n:] + said
		}
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(cmd.Path), cmd.Args[1], err, said)
	}
	return stdout.String(), nil
}

// index reads what apt has fetched.
func (a *apt) index(ctx context.Context) (map[key]Stanza, error) {
	files, err := a.run(ctx, "indextargets", "--format", "$(FILENAME)", "Created-By: Packages")
	if err != nil {
		return nil, err
	}
	return readIndexes(strings.Fields(files))
}

// clean writes the state of a system that has what every one has, and gives its
// packages.
func (a *apt) clean(ctx context.Context, index map[key]Stanza) ([]Stanza, error) {
	var names []string
	for _, p := range index {
		if p.required && !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	packages, err := a.simulate(ctx, index, names)
	if err != nil {
		return nil, fmt.Errorf("work out a clean release: %w", err)
	}
	var b strings.Builder
	for _, p := range packages {
		b.WriteString(p.status())
	}
	return packages, os.WriteFile(a.at("status"), []byte(b.String()), 0o644)
}

// simulate gives what apt would install, by name.
func (a *apt) simulate(ctx context.Context, index map[key]Stanza, names []string, more ...string) ([]Stanza, error) {
	out, err := a.run(ctx, append(append([]string{"install", "--simulate", "--yes"}, more...), names...)...)
	if err != nil {
		return nil, err
	}
	var all []Stanza
	for line := range strings.Lines(out) {
		name, version, ok := installed(line)
		if !ok {
			continue
		}
		p, there := index[key{name, version}]
		if !there {
			return nil, fmt.Errorf("apt would install %s %s, which is in no index", name, version)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Stanza) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// installed reads a line of a simulation:
//
//	Inst libc6-dev (2.36-9+deb12u10 Debian:12.11/stable [amd64])
//	Inst git [1:2.30.2-1] (1:2.39.5-0 Debian:12.11/stable [amd64]) []
func installed(line string) (name, version string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "Inst" {
		return "", "", false
	}
	version = f[2]
	if strings.HasPrefix(version, "[") && len(f) > 3 {
		version = f[3]
	}
	version, ok = strings.CutPrefix(version, "(")
	name, _, _ = strings.Cut(f[1], ":")
	return name, version, ok
}

// fetch downloads what the clean release lacks, and in any case the named
// packages and those of the clean release that are wanted in one version only:
// hosts may have an older one. Every file is compared with the index once more.
func (a *apt) fetch(ctx context.Context, names []string, index map[key]Stanza, base []Stanza, r *Resolved) (err error) {
	if r.Packages, err = a.simulate(ctx, index, names, "--reinstall"); err != nil {
		return err
	}
	if bound := bound(r.Packages, base); len(bound) > 0 {
		names = append(slices.Clone(names), bound...)
		if r.Packages, err = a.simulate(ctx, index, names, "--reinstall"); err != nil {
			return err
		}
	}
	if _, err = a.run(ctx, append([]string{"install", "--yes", "--reinstall", "--download-only"}, names...)...); err != nil {
		return err
	}
	for _, p := range r.Packages {
		if err := p.check(r.Dir); err != nil {
			return err
		}
	}
	return nil
}

// check compares the file of a package with the index.
func (p Stanza) check(dir string) error {
	f, err := os.Open(filepath.Join(dir, p.File()))
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != p.SHA256 || n != p.Size {
		return fmt.Errorf("%s has sha256 %s, the signed index says %s: remove it", f.Name(), got, p.SHA256)
	}
	return nil
}
