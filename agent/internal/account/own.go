package account

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/asuser"
	"github.com/gofleet/gofleet/agent/wire"
)

// LookOwn looks, with the account's rights, at a file in its home and at every
// directory on the way, the home first. It refuses, with errors of the given
// kind, a link, what is not a directory or file, and what is not the account's
// own: nothing there is ever to be written. A home that isn't there is not made,
// for it may only be not mounted. The path is relative to the home.
func (c *Credential) LookOwn(ctx context.Context, path string, kind wire.Kind) ([]asuser.Entry, error) {
	if c.UID == 0 {
		return nil, wire.NewError(kind, fmt.Errorf("user %s has uid 0", c.Name), "name an ordinary account")
	}
	ops := []asuser.Op{{Act: asuser.Look, Path: "."}}
	parts := strings.Split(path, "/")
	for i := range parts {
		ops = append(ops, asuser.Op{Act: asuser.Look, Path: strings.Join(parts[:i+1], "/")})
	}
	entries, err := asuser.Do(ctx, c.Identity(), c.Home, ops...)
	var r *asuser.RefusedError
	switch {
	case errors.As(err, &r) && r.Path == c.Home:
		return nil, wire.NewError(kind, fmt.Errorf("home %s of %s is not there", c.Home, c.who()),
			fmt.Sprintf("mount it, or make it: install -d -m 0700 -o %d -g %d %s", c.UID, c.GID, c.Home))
	case errors.As(err, &r):
		return nil, wire.NewError(kind, r, "only plain files and directories of the account's own are written: put that right and apply again")
	case err != nil:
		return nil, err
	}
	for i, op := range ops[1:] {
		want := asuser.Dir
		if i == len(parts)-1 {
			want = asuser.File
		}
		if hint, err := c.own(op.Path, entries[i], entries[i+1], want); err != nil {
			return nil, wire.NewError(kind, err, hint)
		}
	}
	return entries, nil
}

// own says what is wrong with what stands at a path of the home, if anything
// is. above is the directory that it is in.
func (c *Credential) own(path string, above, e asuser.Entry, want asuser.Type) (hint string, err error) {
	full := filepath.Join(c.Home, path)
	switch {
	case e.Type == asuser.Absent && above.Type == asuser.Dir && above.UID != int(c.UID):
		dir := filepath.Dir(full)
		what := dir
		if dir == filepath.Clean(c.Home) {
			what = "home " + dir
		}
		return fmt.Sprintf("chown it; or, if that is on purpose, make %s yourself, for uid %d and gid %d", full, c.UID, c.GID),
			fmt.Errorf("%s belongs to uid %d, not to %s, and has no %s", what, above.UID, c.who(), filepath.Base(full))
	case e.Type == asuser.Absent:
	case e.Type == asuser.Link:
		return "replace it by what it leads to and apply again", fmt.Errorf("%s is a link", full)
	case e.Type != want:
		return "move it away and apply again", fmt.Errorf("%s is not a %s", full, want)
	case e.UID != int(c.UID):
		return fmt.Sprintf("if that is not on purpose: chown -h %d %s", c.UID, full),
			fmt.Errorf("%s belongs to uid %d, not to %s", full, e.UID, c.who())
	}
	return "", nil
}

func (c *Credential) who() string {
	if c.Name == "" {
		return fmt.Sprintf("uid %d", c.UID)
	}
	return fmt.Sprintf("user %s (uid %d)", c.Name, c.UID)
}
