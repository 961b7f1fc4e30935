package packages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// IndexName is the file of a directory of packages that apt resolves from.
const IndexName = "Packages"

// simulate has apt-get say what it would do.
const simulate = "--simulate"

// How long others may hold the package system, and an installation may take.
const (
	lockPatience = 60 * time.Second
	workPatience = 30 * time.Minute
)

// apt runs apt-get with every repository of the host off, and all that it keeps
// in dir. Only the index there is a source; its files lie beside it.
func apt(ctx context.Context, dir string, args ...string) ([]byte, error) {
	program := hostcmd.Find("apt-get")
	if program == "" {
		return nil, refused(errors.New("this host has dpkg and no apt-get"), "install apt, or drop gofleet_packages for this host")
	}
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	all := []string{"-q", "-y"}
	for _, option := range []string{
		"Dir::Etc::SourceList=/dev/null", "Dir::Etc::SourceParts=/dev/null",
		"Dir::State::Lists=" + filepath.Join(dir, "lists"), "Dir::Cache=" + filepath.Join(dir, "cache"),
		"APT::Install-Recommends=false", "APT::Install-Suggests=false", "APT::Get::AutomaticRemove=false",
		"APT::Sandbox::User=", // who cannot enter dir
		"Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold", "Dpkg::Use-Pty=false",
		fmt.Sprintf("DPkg::Lock::Timeout=%.0f", lockPatience.Seconds()),
	} {
		all = append(all, "-o", option)
	}
	cmd := hostcmd.Command{Program: program, Args: append(all, args...), Patience: workPatience,
		Env: []string{"DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none", "NEEDRESTART_SUSPEND=1"}}
	if !slices.Contains(args, simulate) {
		cmd.Finish = filepath.Join(dir, "log")
	}
	return cmd.Run(ctx)
}

// Simulate asks apt what installing what lacks would do, with the index that
// the files come with. Whatever touches something else, and is not
// allowed, is refused by name. It leaves nothing behind.
func (h *Host) Simulate(ctx context.Context, index []byte) (*Plan, error) {
	dir, err := os.MkdirTemp(workplace(), "gofleet-packages-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, IndexName)
	if err := os.WriteFile(source, index, 0o600); err != nil {
		return nil, err
	}
	plan, err := h.ask(ctx, dir, h.Names())
	if err != nil {
		return nil, err
	}
	if err := h.mayUpgrade(ctx, dir, plan); err != nil {
		return nil, err
	}
	if len(plan.New)+len(plan.Newer) == 0 && !plan.configures {
		return nil, refused(fmt.Errorf("the bundle has nothing newer of %s than is installed", strings.Join(h.Names(), ", ")), "lower min, or make the bundle for a newer release")
	}
	for _, l := range h.Lacks {
		if err := plan.meets(l); err != nil {
			return nil, err
		}
	}
	plan.Files = filesOf(string(index), plan)
	return plan, nil
}

// install are apt's arguments for an installation out of dir. What a cut one
// left may lack what it needs, which apt mends only if told so.
func (h *Host) install(dir string) []string {
	args := []string{"--with-source", filepath.Join(dir, IndexName), "install"}
	if len(h.Cut) > 0 {
		args = append(args, "--fix-broken")
	}
	return args
}

// ask has apt simulate the installation of names out of the index in dir. What
// nothing allows is refused; which upgrades are allowed is not judged here.
func (h *Host) ask(ctx context.Context, dir string, names []string) (*Plan, error) {
	out, err := apt(ctx, dir, slices.Concat(h.install(dir), []string{simulate}, names)...)
	var exit *hostcmd.ExitError
	if errors.As(err, &exit) {
		return nil, refused(fmt.Errorf("apt cannot install %s: %s", strings.Join(names, ", "), hostcmd.Printable(unmet(string(out), exit.Output), 600)),
			"make the bundle for this release of the distribution, and as new as this host: gofleet bundle create --packages FILE --distribution NAME; a package that this host has older than it is needed comes along if FILE names it")
	}
	if err != nil {
		return nil, err
	}
	plan, others := h.parseSimulation(string(out))
	if len(others) > 0 {
		return nil, refused(fmt.Errorf("installing %s would %s", strings.Join(names, ", "), strings.Join(others, ", ")),
			"nothing is removed or downgraded for a package: make the bundle for what this host has, or bring those packages in order by other means")
	}
	return plan, nil
}

// mayUpgrade refuses upgrades of packages that are in nobody's way but that of
// packages without upgrade: true.
func (h *Host) mayUpgrade(ctx context.Context, dir string, plan *Plan) error {
	var strict []string
	for _, l := range h.Lacks {
		if !l.Upgrade {
			strict = append(strict, l.Name)
		}
	}
	if len(plan.Along) == 0 || len(strict) == 0 {
		return nil
	}
	if len(strict) < len(h.Lacks) {
		var err error
		if plan, err = h.ask(ctx, dir, strict); err != nil {
			return err
		}
	}
	var refuse []Package
	for _, one := range plan.Along {
		if !h.may[one.Name] {
			refuse = append(refuse, one)
		}
	}
	if len(refuse) == 0 {
		return nil
	}
	return refused(fmt.Errorf("installing %s would upgrade %s", strings.Join(strict, ", "), upgrades(refuse)),
		fmt.Sprintf("to allow it, write in gofleet_packages {name: %s, upgrade: true}: the bundle has those versions; or upgrade these packages by other means", strict[0]))
}

// workplace is where temporary files may lie: in memory if there is that.
func workplace() string {
	if st, err := os.Stat("/run"); err == nil && st.IsDir() {
		return "/run"
	}
	return os.TempDir()
}

// unmet is what apt says of why it cannot.
func unmet(out, complaint string) string {
	if _, why, ok := strings.Cut(out, "The following packages have unmet dependencies:"); ok {
		return strings.TrimSpace(why)
	}
	return complaint
}

// parseSimulation reads what apt would do. others are removals and downgrades.
//
//	Inst libc6-dev (2.36-9+deb12u10 volatile-packages-file [amd64])
//	Inst git [1:2.30.2-1] (1:2.39.5-0 volatile-packages-file [amd64]) []
//	Remv exim4 [4.96-15]
func (h *Host) parseSimulation(out string) (plan *Plan, others []string) {
	plan = &Plan{host: h}
	for _, line := range strings.SplitAfter(out, "\n") {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		name, _, _ := strings.Cut(hostcmd.Printable(f[1], 100), ":")
		switch f[0] {
		case "Conf":
			plan.configures = true
		case "Inst":
			p := Package{Name: name}
			if have, isOld := strings.CutPrefix(f[2], "["); isOld && len(f) > 3 {
				p.Have, f = strings.TrimSuffix(have, "]"), f[1:]
			}
			p.Version = hostcmd.Printable(strings.TrimPrefix(f[2], "("), 100)
			switch l := h.lacking(name); {
			case p.Have == "" || h.unfinished(name):
				_, known := h.has[name]
				p.Have, p.purge = "", !known || slices.Contains(h.Cut, name)
				plan.New = append(plan.New, p)
			case compareDebian(p.Version, p.Have) < 0:
				others = append(others, fmt.Sprintf("downgrade %s from %s to %s", name, p.Have, p.Version))
			case l == nil:
				plan.Along = append(plan.Along, p)
			default:
				plan.Newer = append(plan.Newer, p)
			}
		case "Remv", "Purg":
			others = append(others, "remove "+name)
		}
	}
	return plan, others
}

// meets makes sure that what would be installed is new enough.
func (p *Plan) meets(l Lack) error {
	for _, one := range slices.Concat(p.New, p.Newer) {
		if one.Name == l.Name && l.Min != "" && !scheme(compareDebian).atLeast(one.Version, l.Min) {
			return refused(fmt.Errorf("%s %s is the newest in the bundle, and %s is wanted", l.Name, one.Version, l.Min), "lower min, or make the bundle for a newer release")
		}
	}
	return nil
}

// filesOf are the files of the plan's packages in the index.
func filesOf(index string, plan *Plan) (files []string) {
	want := map[string]bool{}
	for _, one := range plan.all() {
		want[one.Name+" "+one.Version] = true
	}
	for _, stanza := range strings.Split(index, "\n\n") {
		if want[field(stanza, "Package")+" "+field(stanza, "Version")] {
			files = append(files, filepath.Base(field(stanza, "Filename")))
		}
	}
	return files
}

// field is a field of one entry of an index.
func field(stanza, name string) string {
	for _, line := range strings.SplitAfter(stanza, "\n") {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Install installs what the plan says from the files in dir, which lie beside
// their index. Once begun, it goes on to its end whatever becomes of ctx or of
// this process.
func (p *Plan) Install(ctx context.Context, dir string) error {
	if p.host.Family != spec.Debian {
		return p.installRPM(ctx, dir)
	}
	_, err := apt(ctx, dir, append(p.host.install(dir), p.host.Names()...)...)
	return explain(err)
}

// explain gives what the package system refused its way out.
func explain(err error) error {
	var exit *hostcmd.ExitError
	switch {
	case !errors.As(err, &exit):
		return err
	case strings.Contains(exit.Output, "Could not get lock"), strings.Contains(exit.Output, "is held by process"):
		e := wire.NewError(wire.KindBaseline, err, "another program is at work on packages: run the same command again when it is done")
		e.Retryable = true
		return e
	}
	return wire.NewError(wire.KindBaseline, err, "look at the host's /var/log/dpkg.log and /var/log/apt/term.log")
}

// Recover brings a package system in order whose work for gofleet was cut, as
// far as can be done with what is unpacked: what still lacks something is left
// for Install, which brings it.
func (h *Host) Recover(ctx context.Context) error {
	if h.Family != spec.Debian {
		return nil
	}
	_, err := hostcmd.Command{Program: hostcmd.Find("dpkg"), Args: []string{"--force-confdef", "--force-confold", "--configure", "-a"},
		Env: []string{"DEBIAN_FRONTEND=noninteractive"}, Patience: workPatience}.Run(ctx)
	var exit *hostcmd.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// Uninstall takes Install back: what was not there goes, with its configuration
// where there was none. What was upgraded stays.
func (p *Plan) Uninstall(ctx context.Context, dir string) error {
	if p.host.Family != spec.Debian {
		return p.uninstallRPM(ctx)
	}
	text, err := os.ReadFile(dpkgStatus)
	if err != nil {
		return err
	}
	now := parseStatus(string(text))
	var purge, remove []string
	for _, one := range p.New {
		switch state := now[one.Name].state; {
		case state == "" || state == "not-installed":
		case one.purge:
			purge = append(purge, one.Name)
		case state != "config-files":
			remove = append(remove, one.Name)
		}
	}
	for _, act := range []struct {
		verb  string
		names []string
	}{{"purge", purge}, {"remove", remove}} {
		if len(act.names) == 0 {
			continue
		}
		if err := p.takeAway(ctx, dir, act.verb, act.names); err != nil {
			return err
		}
	}
	return nil
}

// takeAway removes packages, and nothing that somebody has come to need them
// for since.
func (p *Plan) takeAway(ctx context.Context, dir, verb string, names []string) error {
	out, err := apt(ctx, dir, append([]string{simulate, verb}, names...)...)
	if err != nil {
		return explain(err)
	}
	for _, line := range strings.SplitAfter(string(out), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "Remv" && f[0] != "Purg" && f[0] != "Inst" {
			continue
		}
		name, _, _ := strings.Cut(f[1], ":")
		if !slices.Contains(p.NewNames(), name) {
			return refused(fmt.Errorf("removing what was installed would change %s", hostcmd.Printable(name, 100)), "remove by hand what is not needed")
		}
	}
	_, err = apt(ctx, dir, append([]string{verb}, names...)...)
	return explain(err)
}
