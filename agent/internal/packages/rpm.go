package packages

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
)

// rpmFamily tells the two families with rpms apart.
func rpmFamily() string {
	if there("/etc/SuSE-release") || there("/usr/bin/zypper") || there("/etc/zypp") {
		return spec.SUSE
	}
	return spec.RHEL
}

// queryRPM asks for the versions of packages; those that are missing are left
// out.
func queryRPM(ctx context.Context, names []string) (map[string]string, error) {
	const format = `%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\n`
	args := append([]string{"-q", "--whatprovides", "--qf", format}, names...)
	out, err := hostcmd.Run(ctx, "", hostcmd.Find("rpm"), args...)
	var exit *hostcmd.ExitError
	if err != nil && !errors.As(err, &exit) { // it exits with how many are missing
		return nil, err
	}
	versions := map[string]string{}
	for _, line := range strings.SplitAfter(string(out), "\n") {
		f := strings.Fields(line)
		if len(f) == 2 && strings.Contains(f[1], ":") {
			versions[f[0]] = f[1]
		}
	}
	return versions, nil
}

// rpmOf takes the name of an rpm's file apart: name-version-release.arch.rpm.
func rpmOf(file string) (name, version, arch string, ok bool) {
	stem, ok := strings.CutSuffix(file, ".rpm")
	dot := strings.LastIndexByte(stem, '.')
	if !ok || dot < 0 {
		return "", "", "", false
	}
	stem, arch = stem[:dot], stem[dot+1:]
	release := strings.LastIndexByte(stem, '-')
	if release < 0 {
		return "", "", "", false
	}
	at := strings.LastIndexByte(stem[:release], '-')
	if at <= 0 {
		return "", "", "", false
	}
	return stem[:at], stem[at+1:], arch, true
}

// PlanRPM plans with the files that a bundle has for the distribution: all
// whose package is not on the host. rpm judges the rest once they are here. A
// named package that is too old is refused: upgrading one may take others along.
func (h *Host) PlanRPM(ctx context.Context, files []string, machine string) (*Plan, error) {
	p := &Plan{host: h}
	var names []string
	for _, l := range h.Lacks {
		if l.Have != "" {
			return nil, refused(fmt.Errorf("%s %s is installed, and %s is wanted", l.Name, l.Have, l.Min),
				"upgrade it by other means: of rpms, gofleet installs only what is missing")
		}
	}
	for _, file := range files {
		if name, _, arch, ok := rpmOf(file); ok && (arch == machine || arch == "noarch") {
			names = append(names, name)
		}
	}
	have, err := queryRPM(ctx, names)
	if err != nil {
		return nil, err
	}
	at := map[string]int{} // in New and Files
	for _, file := range files {
		name, version, arch, ok := rpmOf(file)
		if _, isThere := have[name]; !ok || isThere || arch != machine && arch != "noarch" {
			continue
		}
		i, twice := at[name]
		switch {
		case !twice:
			at[name] = len(p.New)
			p.New, p.Files = append(p.New, Package{Name: name, Version: version}), append(p.Files, file)
		case compareRPM(version, p.New[i].Version) > 0: // the newest of several
			p.New[i].Version, p.Files[i] = version, file
		}
	}
	for _, l := range h.Lacks {
		found := false
		for _, one := range p.New {
			found = found || one.Name == l.Name
			if one.Name == l.Name && l.Min != "" && !scheme(compareRPM).atLeast(one.Version, l.Min) {
				return nil, refused(fmt.Errorf("%s %s is what the bundle has, and %s is wanted", l.Name, one.Version, l.Min), "lower min, or put a newer rpm into the bundle")
			}
		}
		if !found {
			return nil, refused(fmt.Errorf("the bundle has no rpm of %s for %s", l.Name, machine), "put it, and what it needs, into the directory that the bundle is made of")
		}
	}
	return p, nil
}

// Check proves the signatures of the plan's rpms by the keys that the host's
// rpm knows, and has rpm test the installation. rpm -i installs what is not
// there, and can upgrade or remove nothing. Debian's files need no such check.
func (p *Plan) Check(ctx context.Context, dir string) error {
	if p.host.Family == spec.Debian {
		return nil
	}
	out, err := rpm(ctx, append([]string{"-K"}, p.paths(dir)...)...)
	if bad := unsigned(string(out), dir); len(bad) > 0 {
		return refused(fmt.Errorf("rpm does not vouch for %s", strings.Join(bad, ", ")),
			"only rpms are installed that a key signed which the host knows: import the distribution's with rpm --import, or take the rpms from where the host's came from")
	}
	if err != nil {
		return refused(fmt.Errorf("check the signatures of rpms: %w", err), "make the bundle again of rpms that rpm -K takes")
	}
	if _, err := rpm(ctx, append([]string{"-i", "--test"}, p.paths(dir)...)...); err != nil {
		return refused(fmt.Errorf("rpm cannot install %s: %w", strings.Join(p.host.Names(), ", "), err), "put what they need into the directory that the bundle is made of; what is on the host is not changed")
	}
	return nil
}

// unsigned are the files, each with its verdict, that rpm -K does not find
// signed by a key of the host's. It takes an rpm that nobody signed:
//
//	/dir/tool-2.0-1.noarch.rpm: digests signatures OK
//	/dir/rogue-1.0-1.noarch.rpm: digests OK
//	/dir/alien-1.0-1.noarch.rpm: digests SIGNATURES NOT OK
func unsigned(out, dir string) (bad []string) {
	for _, line := range strings.SplitAfter(out, "\n") {
		_, verdict, ok := strings.Cut(line, ".rpm:")
		signed := strings.Contains(verdict, "signatures") || strings.Contains(verdict, "pgp")
		if ok && (!signed || strings.Contains(verdict, "NOT OK") || !strings.Contains(verdict, "OK")) {
			bad = append(bad, hostcmd.Printable(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), dir), "/"), 200))
		}
	}
	return bad
}

func (p *Plan) paths(dir string) []string {
	paths := make([]string, len(p.Files))
	for i, f := range p.Files {
		paths[i] = filepath.Join(dir, f)
	}
	return paths
}

func rpm(ctx context.Context, args ...string) ([]byte, error) {
	return hostcmd.Command{Program: hostcmd.Find("rpm"), Args: args, Patience: workPatience}.Run(ctx)
}

func (p *Plan) installRPM(ctx context.Context, dir string) error {
	if err := p.Check(ctx, dir); err != nil {
		return err
	}
	_, err := hostcmd.Command{Program: hostcmd.Find("rpm"), Args: append([]string{"-i"}, p.paths(dir)...), Patience: workPatience,
		Finish: filepath.Join(dir, "log")}.Run(ctx)
	return err
}

func (p *Plan) uninstallRPM(ctx context.Context) error {
	var names []string
	for _, one := range p.New {
		names = append(names, one.Name)
	}
	have, err := queryRPM(ctx, names)
	if err != nil || len(have) == 0 {
		return err
	}
	names = names[:0]
	for name := range have {
		names = append(names, name)
	}
	_, err = rpm(ctx, append([]string{"-e"}, names...)...)
	return err
}
