// Package packages brings a host the packages of its distribution that
// gofleet_packages names, out of files that lie here already, with every
// repository off. What is installed it reads from the package system's own
// files where it can; apt, dpkg and rpm are run only where something lacks.
// Nothing that is on the host is downgraded or removed, and nothing upgraded but
// named packages that are older than wanted, and what packages with upgrade:
// true need newer. It knows nothing of where files come from.
package packages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/policy"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Where package systems keep what is installed.
const (
	dpkgStatus = "/var/lib/dpkg/status"
	apkStatus  = "/lib/apk/db/installed"
)

var rpmDatabases = []string{"/usr/lib/sysimage/rpm", "/var/lib/rpm"}

// Host is what a host has of the packages that it is to have.
type Host struct {
	Family string // of its distribution, as in package spec
	Lacks  []Lack
	Cut    []string             // what a run was installing that was cut
	has    map[string]installed // Debian's
	may    map[string]bool      // named packages with upgrade: true
}

// Lack is a package that is missing, or older than wanted.
type Lack struct {
	Name string // in the host's family
	Min  string
	Have string // the version that is too old; "" is missing

	Upgrade bool // what it needs may be upgraded
}

// installed is a package as a status file has it.
type installed struct {
	version string
	state   string // installed, half-configured, config-files, …
}

// Names are the packages' names, in the order of the inventory.
func (h *Host) Names() []string {
	names := make([]string, len(h.Lacks))
	for i, l := range h.Lacks {
		names[i] = l.Name
	}
	return names
}

// Look finds out what is lacking. It changes nothing, and runs a program only
// where the host's packages are rpms. distribution is the ID of its os-release:
// a host may have the other family's package system too, as a program among
// others. The error of a host without a package system that gofleet knows is of
// kind baseline_refused.
func Look(ctx context.Context, want []spec.Package, distribution string) (*Host, error) {
	h := &Host{}
	if len(want) == 0 {
		return h, nil
	}
	rpms := slices.ContainsFunc(rpmDatabases, there) && hostcmd.Find("rpm") != ""
	family := policy.Family(distribution)
	switch {
	case there(dpkgStatus) && !(rpms && (family == spec.RHEL || family == spec.SUSE)):
		text, err := os.ReadFile(dpkgStatus)
		if err != nil {
			return nil, fmt.Errorf("read what is installed: %w", err)
		}
		h.Family = spec.Debian
		h.has = parseStatus(string(text))
		h.compare(want, compareDebian, func(name string) (string, bool) {
			p := h.has[name]
			return p.version, p.state == isInstalled
		})
		return h, nil
	case rpms:
		h.Family = rpmFamily()
		versions, err := queryRPM(ctx, h.in(want))
		if err != nil {
			return nil, err
		}
		h.compare(want, compareRPM, func(name string) (string, bool) {
			version, ok := versions[name]
			return version, ok
		})
		return h, nil
	case there(apkStatus):
		text, err := os.ReadFile(apkStatus)
		if err != nil {
			return nil, fmt.Errorf("read what is installed: %w", err)
		}
		h.Family = spec.Alpine
		versions := parseAPK(string(text))
		h.compare(want, compareRPM, func(name string) (string, bool) {
			version, ok := versions[name]
			return version, ok
		})
		return h, nil
	}
	return nil, refused(errors.New("this host has no package system that gofleet knows: neither dpkg nor rpm nor apk"),
		"install what is needed by other means, and drop gofleet_packages for this host")
}

func (h *Host) in(want []spec.Package) []string {
	names := make([]string, len(want))
	for i, p := range want {
		names[i] = p.In(h.Family)
	}
	return names
}

func (h *Host) compare(want []spec.Package, s scheme, have func(name string) (string, bool)) {
	h.may = map[string]bool{}
	for _, p := range want {
		l := Lack{Name: p.In(h.Family), Min: p.Min, Upgrade: p.Upgrade}
		h.may[l.Name] = p.Upgrade
		version, ok := have(l.Name)
		if ok && (p.Min == "" || s.atLeast(version, p.Min)) {
			continue
		}
		if ok {
			l.Have = version
		}
		h.Lacks = append(h.Lacks, l)
	}
}

// lacking finds a lack by name.
func (h *Host) lacking(name string) *Lack {
	for i := range h.Lacks {
		if h.Lacks[i].Name == name {
			return &h.Lacks[i]
		}
	}
	return nil
}

// Plan is what would be done to a host, as its package system says.
type Plan struct {
	New   []Package // what is not there yet
	Newer []Package // named ones that are too old
	Along []Package // others that are upgraded for them, as upgrade: true allows
	Files []string  // base names of the files that it takes
	host  *Host

	configures bool // what is unpacked already is configured
}

// Package is one package of a plan.
type Package struct {
	Name    string
	Version string
	Have    string // what it replaces
	purge   bool   // nothing of it was there before, no configuration either
}

// NewNames are the packages that are not there yet.
func (p *Plan) NewNames() []string {
	names := make([]string, len(p.New))
	for i, one := range p.New {
		names[i] = one.Name
	}
	return names
}

// all are the plan's packages that come out of files.
func (p *Plan) all() []Package { return slices.Concat(p.New, p.Newer, p.Along) }

// Title says what is installed and which others are upgraded for it; Diff has
// every package.
func (p *Plan) Title() string {
	text := title(p.host.Names(), len(p.New)+len(p.Newer))
	if len(p.Along) > 0 {
		text += "; upgrade " + upgrades(p.Along)
	}
	return text
}

// upgrades lists packages that get newer, for people.
func upgrades(of []Package) string {
	all := make([]string, len(of))
	for i, one := range of {
		all[i] = fmt.Sprintf("%s from %s to %s", one.Name, one.Have, one.Version)
	}
	return strings.Join(all, ", ")
}

// Diff lists every package.
func (p *Plan) Diff() string {
	var b strings.Builder
	for _, one := range p.New {
		fmt.Fprintf(&b, "+%s %s\n", one.Name, one.Version)
	}
	for _, one := range slices.Concat(p.Newer, p.Along) {
		fmt.Fprintf(&b, "-%s %s\n+%s %s\n", one.Name, one.Have, one.Name, one.Version)
	}
	return b.String()
}

// Title is what is known without a plan.
func (h *Host) Title() string { return title(h.Names(), 0) }

func title(named []string, all int) string {
	text := "install " + strings.Join(named, ", ")
	if more := all - len(named); more > 0 {
		return fmt.Sprintf("%s, and %d packages that they need", text, more)
	}
	return text
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func refused(err error, hint string) error { return wire.NewError(wire.KindBaseline, err, hint) }
