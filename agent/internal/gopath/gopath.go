// Package gopath plans what lies in src below the deploy user's GOPATH: the
// sources of projects from before modules. They come from a tree that root
// keeps on the host; what is done in the GOPATH is done with the user's rights
// and follows no link. Files of others stay, and one that is in the way is
// refused while planning.
package gopath

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/asuser"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// src is where a GOPATH has its sources.
const src = "src"

// maxOps is what one child does: asuser bounds its time and its answer.
const maxOps = 500

// Trees are what is known of the sources.
type Trees struct {
	Want tree.Manifest // what is to be there
	Old  tree.Manifest // what a run put there
	// Cut are what runs that were cut may have put there: of these a file is
	// ours only with the content that they have.
	Cut []tree.Manifest
}

// Plan is what is to be done at a place.
type Plan struct {
	Drift  []wire.Drift // files of Old that are not as they were put there, but for those that are as they should be
	Write  []string     // paths below src
	Remove []string     // likewise; directories behind what is in them, which go only if they are empty
	Files  int          // of Remove, that are no directories

	want tree.Manifest
	base base
}

// base is the directory that asuser works in, and where src is below it.
type base struct {
	cred *account.Credential
	dir  string
	root string // of the GOPATH, relative to dir
}

func (b base) at(name string) string { return path.Join(b.root, src, name) }

// Look plans. A user that the host doesn't know has nothing yet. The errors
// are *wire.Error of the kinds KindAccount and KindHost.
func Look(ctx context.Context, p record.Gopath, t Trees) (*Plan, error) {
	plan := &Plan{want: t.Want}
	if p.User == "" && os.Geteuid() == 0 {
		return nil, refused(errors.New("gofleet_gopath needs gofleet_user: as root there is no other user whose GOPATH it could be"),
			"set gofleet_user, or work without become below a gofleet_root of the user's own")
	}
	cred, err := account.LookupOrSelf(ctx, p.User)
	switch {
	case errors.Is(err, account.ErrNotFound): // made in the same run
		for i := range t.Want {
			if !t.Want[i].Dir {
				plan.Write = append(plan.Write, t.Want[i].Path)
			}
		}
		return plan, nil
	case errors.Is(err, account.ErrNoHome):
		return nil, refused(fmt.Errorf("%w for a GOPATH", err), "log in with a home directory")
	case err != nil:
		return nil, wire.NewError(wire.KindHost, err, "")
	case cred.UID == 0:
		return nil, refused(fmt.Errorf("user %s has uid 0", cred.Name), "name an ordinary account in gofleet_user.name")
	}
	plan.base = baseOf(cred, p.Path)
	paths := pathsOf(t)
	ops := make([]asuser.Op, len(paths))
	for i, name := range paths {
		ops[i] = asuser.Op{Act: asuser.Sum, Path: plan.base.at(name)}
	}
	found, err := plan.base.do(ctx, ops)
	var r *asuser.RefusedError
	if errors.As(err, &r) && r.Path == plan.base.dir && t.Want == nil {
		return &Plan{}, nil // all of it is gone
	}
	if err != nil {
		return nil, asWire(err)
	}
	for i, name := range paths {
		if err := plan.judge(name, found[i], t); err != nil {
			return nil, err
		}
	}
	slices.Reverse(plan.Remove) // what is in a directory before it
	return plan, nil
}

// baseOf is the home where the GOPATH is in it: then gofleet makes it. One
// elsewhere must be there.
func baseOf(cred *account.Credential, gopath string) base {
	if gopath == "" {
		return base{cred, cred.Home, "go"}
	}
	if below, err := filepath.Rel(cred.Home, gopath); err == nil && filepath.IsLocal(below) {
		return base{cred, cred.Home, below}
	}
	return base{cred, gopath, "."}
}

// pathsOf are all paths, each directory before what is in it.
func pathsOf(t Trees) []string {
	var all tree.Manifest
	seen := map[string]bool{}
	for _, m := range append([]tree.Manifest{t.Want, t.Old}, t.Cut...) {
		for i := range m {
			if !seen[m[i].Path] {
				seen[m[i].Path] = true
				all = append(all, tree.Entry{Path: m[i].Path})
			}
		}
	}
	all.Sort()
	paths := make([]string, len(all))
	for i := range all {
		paths[i] = all[i].Path
	}
	return paths
}

// judge decides about one path.
func (p *Plan) judge(name string, now asuser.Entry, t Trees) error {
	want, old := t.Want.Find(name), t.Old.Find(name)
	there := now.Type != asuser.Absent
	if want != nil && want.Dir {
		if there && now.Type != asuser.Dir && (old == nil || old.Dir) {
			return p.inTheWay(name, "it is no directory")
		}
		if there && now.Type == asuser.File {
			p.Remove = append(p.Remove, name)
			p.Files++
		}
		return nil // made for what is in it
	}
	right := want != nil && p.same(now, want) && now.Mode == uint32(want.Mode)
	if old != nil && !old.Dir && !right && !(p.same(now, old) && now.Mode == uint32(old.Mode)) {
		p.Drift = append(p.Drift, wire.Drift{Path: path.Join(p.base.dir, p.base.at(name)), How: how(now, old)})
	}
	ours := old != nil || cut(t.Cut, now, name)
	switch {
	case want == nil:
		if there && ours && (now.Type == asuser.File || now.Type == asuser.Dir) {
			p.Remove = append(p.Remove, name)
			if now.Type == asuser.File {
				p.Files++
			}
		}
	case right:
	case now.Type == asuser.Link || now.Type == asuser.Other:
		return p.inTheWay(name, "it is "+article(now.Type))
	case now.Type == asuser.Dir:
		if old == nil || !old.Dir {
			return p.inTheWay(name, "it is a directory")
		}
		p.Remove = append(p.Remove, name)
		p.Write = append(p.Write, name)
	case there && !ours && !p.same(now, want):
		return p.inTheWay(name, "its content is another")
	default:
		p.Write = append(p.Write, name)
	}
	return nil
}

// same compares content and owner.
func (p *Plan) same(now asuser.Entry, e *tree.Entry) bool {
	return now.Type == asuser.File && now.Sum == hex.EncodeToString(e.SHA256[:]) && now.UID == int(p.base.cred.UID)
}

// cut reports what a run that was cut has put there.
func cut(trees []tree.Manifest, now asuser.Entry, name string) bool {
	for _, m := range trees {
		e := m.Find(name)
		if e != nil && (e.Dir && now.Type == asuser.Dir || now.Type == asuser.File && now.Sum == hex.EncodeToString(e.SHA256[:])) {
			return true
		}
	}
	return false
}

func article(t asuser.Type) string {
	if t == asuser.Link {
		return "a link"
	}
	return "neither a file nor a directory"
}

// how says in which way a file differs.
func how(now asuser.Entry, e *tree.Entry) string {
	switch {
	case now.Type == asuser.Absent:
		return "missing"
	case now.Type != asuser.File:
		return "not a file"
	case now.Sum != hex.EncodeToString(e.SHA256[:]):
		return "content"
	case now.Mode != uint32(e.Mode):
		return fmt.Sprintf("mode %04o, not %04o", now.Mode, e.Mode)
	}
	return "owner"
}

func (p *Plan) inTheWay(name, why string) error {
	full := path.Join(p.base.dir, p.base.at(name))
	return refused(fmt.Errorf("%s is in the way of gofleet_gopath, and not gofleet's: %s", full, why),
		"move it away and apply again, or leave it out of the sources")
}

// Do makes the change. Each file is replaced whole; from is where the wanted
// tree lies. Run again after a cut, a new Plan goes on.
func (p *Plan) Do(ctx context.Context, from string) error {
	if p.base.cred == nil {
		return nil // nobody there
	}
	var ops []asuser.Op
	for _, name := range p.Remove {
		ops = append(ops, asuser.Op{Act: asuser.Remove, Path: p.base.at(name)})
	}
	made := map[string]bool{".": true}
	for _, name := range p.Write {
		full := p.base.at(name)
		for i := range full {
			if dir := full[:i]; full[i] == '/' && !made[dir] {
				made[dir] = true
				ops = append(ops, asuser.Op{Act: asuser.Mkdir, Path: dir, Mode: 0o755})
			}
		}
		e := p.want.Find(name)
		ops = append(ops, asuser.Op{Act: asuser.Copy, Path: full, Mode: uint32(e.Mode), From: filepath.Join(from, name), Sum: hex.EncodeToString(e.SHA256[:])})
	}
	if len(p.want) == 0 && len(p.Remove) > 0 { // what is empty goes with the last of it
		ops = append(ops, asuser.Op{Act: asuser.Remove, Path: p.base.at("")})
		if p.base.root != "." {
			ops = append(ops, asuser.Op{Act: asuser.Remove, Path: p.base.root})
		}
	}
	_, err := p.base.do(ctx, ops)
	return asWire(err)
}

// do does ops in as many children as it takes.
func (b base) do(ctx context.Context, ops []asuser.Op) ([]asuser.Entry, error) {
	var all []asuser.Entry
	for len(ops) > 0 {
		n := min(len(ops), maxOps)
		found, err := asuser.Do(ctx, b.cred.Identity(), b.dir, ops[:n]...)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
		ops = ops[n:]
	}
	return all, nil
}

// Diff lists what changes, as far as it fits.
func (p *Plan) Diff(place record.Gopath) string {
	const most = 200
	var b strings.Builder
	fmt.Fprintf(&b, "--- %[1]s\n+++ %[1]s\n", place)
	lines := 0
	list := func(sign string, names []string) {
		for _, name := range names {
			if lines++; lines <= most {
				fmt.Fprintf(&b, "%s%s\n", sign, name)
			}
		}
	}
	list("-", p.Remove)
	list("+", p.Write)
	if lines > most {
		fmt.Fprintf(&b, "… and %d more\n", lines-most)
	}
	return b.String()
}

func asWire(err error) error {
	var r *asuser.RefusedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return refused(r, "put that right and apply again; if a link leads to the GOPATH, name in gofleet_gopath.path where it leads to")
	}
	return wire.NewError(wire.KindHost, err, "")
}

func refused(err error, hint string) error { return wire.NewError(wire.KindAccount, err, hint) }
