// Package inventory reads Ansible inventories: which hosts and groups there
// are, and what variables each host has, with Ansible's precedence and
// PyYAML's idea of scalars. It is pure: it reads files and dials nothing, and
// it knows nothing of what the variables mean to gofleet.
//
// Sources of any format are read into one tree of groups and hosts; a host's
// variables are put together only when the host is asked for, from parts that
// hosts of the same groups share.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say what to read.
type Options struct {
	Sources   []string     // -i: files, directories and host lists such as "web1,web2:2222,"
	ExtraVars []string     // -e: k=v words, JSON or YAML, @file
	Dir       string       // working directory; "" is the process's own
	Vault     VaultOptions // passwords of what ansible-vault encrypted

	// Settings are what Ansible reads from its [inventory] settings.
	Settings Settings
	// Env is the environment, NAME=value, of programs among the sources, and
	// what lookup('env') sees. The process's own is never used.
	Env []string
	// AnsibleInventory is the ansible-inventory that reads what only Python
	// can; "" if there is none.
	AnsibleInventory string
	// ProgramTimeout bounds each program; 0 is 5 minutes.
	ProgramTimeout time.Duration
}

// Settings are the rules of reading sources that ansible.cfg may change. The
// zero value is Ansible's defaults.
type Settings struct {
	Plugins          []string // enable_plugins: which readers there are, in their order
	IgnoreExtensions []string // ignore_extensions: what is passed over in directories
	IgnorePatterns   []string // ignore_patterns: regular expressions for the same
	SafeGroupNames   bool     // force_valid_group_names: replace what variable names can't have
}

// Inventory is what the sources say. Its methods may be called from several
// goroutines.
type Inventory struct {
	names  []string // of the sources, as the user gave them
	dir    string
	tree   *tree
	files  *varsFiles
	beside []*varsDir // those of the sources, in order
	work   *varsDir   // the working directory
	extra  map[string]variable

	templates *templates

	mu       sync.Mutex
	warnings []string
	warned   map[string]bool
	local    *Host // the implicit localhost
}

// Host is one host of an inventory, with its variables put together. It is
// not to be changed: hosts share what their groups give them.
type Host struct {
	Name   string
	Groups []string // all groups it is in but all, sorted
	// Vars are nil, bool, int64, *big.Int, float64, string, Vault, []any or
	// map[string]any. Dates are their ISO text. Ansible's magic variables are
	// not among them. Templates stand in them as they are written; Evaluate
	// gives their values.
	Vars map[string]any

	at      Position
	dir     string
	direct  []*group
	inline  map[string]variable
	lineage *lineage
	own     map[string]variable // what the host has beside its groups
	extra   map[string]variable // -e
	err     error               // why its variables can't be put together
	done    bool
	inv     *Inventory
	scope   *scope              // what its templates see; nil until one is evaluated
	secrets map[string][]Secret // what came from a vault, of evaluated variables
}

// Dir is the directory of the source that the host was first found in,
// Ansible's inventory_dir; "" for host lists.
func (h *Host) Dir() string { return h.dir }

// DirectGroups are the groups that name the host itself, not only groups above
// those; all and ungrouped are not among them.
func (h *Host) DirectGroups() []string {
	var names []string
	for _, g := range h.direct {
		if g.name != "all" && g.name != "ungrouped" {
			names = append(names, g.name)
		}
	}
	slices.Sort(names)
	return names
}

// Defined is where the inventory names the host first.
func (h *Host) Defined() Position { return h.at }

func (h *Host) set(name string, v variable) {
	if h.inline == nil {
		h.inline = map[string]variable{}
	}
	h.inline[name] = v
}

// reader is what reading the sources needs.
type reader struct {
	ctx     context.Context // of Load, which is what a reader lives for
	options *Options
	plugins []plugin
	ignored *regexp.Regexp
	read    []string // the sources read so far, each file of a directory by itself

	dir    string
	tree   *tree
	loader *loader
	warn   func(p Position, format string, args ...any)
}

// path is where to open a name that the user gave.
func (r *reader) path(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(name) || r.dir == "" {
		return name
	}
	return filepath.Join(r.dir, name)
}

// Load reads the sources and the extra variables. Files of group_vars and
// host_vars are read when a host that they are for is asked for, so that
// trouble with other hosts' files is no hindrance. The error is one *Error or
// several joined.
func Load(ctx context.Context, o Options) (*Inventory, error) {
	inv := &Inventory{names: o.Sources, dir: o.Dir, warned: map[string]bool{}}
	r := &reader{ctx: ctx, options: &o, dir: o.Dir, tree: newTree(inv.warnAt), loader: &loader{warn: inv.warnAt}, warn: inv.warnAt}
	if err := r.prepare(); err != nil {
		return nil, err
	}
	inv.tree = r.tree
	ring, err := r.vaultRing(ctx, o.Vault)
	if err != nil {
		return nil, err
	}
	r.loader.ring = ring
	inv.templates = newTemplates(inv, o.Env)
	inv.files = &varsFiles{loader: r.loader, files: map[string]varsFile{}}
	inv.work = &varsDir{name: ".", path: r.path(".")}

	var errs []error
	for _, name := range o.Sources {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.readSource(name); err != nil {
			errs = append(errs, err)
		}
		inv.addBeside(r, name)
	}
	if len(o.Sources) == 0 {
		errs = append(errs, &Error{Msg: "no inventory", Hint: "name one with -i"})
	}
	if inv.extra, err = r.extraVars(o.ExtraVars); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		if err := r.tree.reconcile(); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return inv, nil
}

// addBeside notes where the group_vars and host_vars of a source would be:
// in the directory that it is, or beside the file.
func (inv *Inventory) addBeside(r *reader, name string) {
	path := r.path(name)
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	if !info.IsDir() {
		name, path = filepath.Dir(name), filepath.Dir(path)
	}
	if n := len(inv.beside); n > 0 && inv.beside[n-1].path == path {
		return
	}
	inv.beside = append(inv.beside, &varsDir{name: name, path: path})
}

// warnAt records a warning, once.
func (inv *Inventory) warnAt(p Position, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	if p.File != "" {
		msg = p.String() + ": " + msg
	}
	if !inv.warned[msg] {
		inv.warned[msg] = true
		inv.warnings = append(inv.warnings, msg)
	}
}

// Warnings are what was passed over so far, in the order it was met: patterns
// that match nothing, keys that mean nothing, keys given twice.
func (inv *Inventory) Warnings() []string {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	return slices.Clone(inv.warnings)
}

// Hosts gives the hosts that the pattern matches and the limit leaves, in a
// fixed order and with their variables. An empty pattern is all; an empty
// limit is none. The error wraps ErrNoHosts when none is left; it names every
// variable file in the way, joined.
func (inv *Inventory) Hosts(pattern, limit string) ([]*Host, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	hosts, err := inv.match(pattern, limit)
	if err != nil {
		return nil, err
	}
	if len(hosts) == 0 {
		return nil, inv.noHosts(pattern, limit)
	}
	if err := inv.prepareAll(hosts); err != nil {
		return nil, err
	}
	return hosts, nil
}

// Host gives one host by its name, with its variables.
func (inv *Inventory) Host(name string) (*Host, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	h := inv.find(name)
	if h == nil {
		return nil, (&Error{Msg: fmt.Sprintf("no host %q in the inventory", name), err: ErrNoHosts}).
			hint("gofleet inventory --hosts all lists the hosts")
	}
	if inv.prepare(h); h.err != nil {
		return nil, h.err
	}
	return h, nil
}

func (inv *Inventory) noHosts(pattern, limit string) error {
	e := &Error{err: ErrNoHosts, Hint: "gofleet inventory --graph shows the groups and hosts"}
	switch {
	case len(inv.tree.hostOrder) == 0:
		e.File, e.Msg = strings.Join(inv.names, ", "), "the inventory has no hosts"
		e.Hint = "write each below a group's hosts:, with a colon behind it; gofleet inventory --graph shows what was read"
	case limit != "":
		e.Msg = fmt.Sprintf("the limit %q leaves no host", limit)
	default:
		e.Msg = fmt.Sprintf("the pattern %q matches no host", pattern)
	}
	return e
}
