package account

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/record"
)

// What a run gives to an account is recorded when it has been given. A
// run that is cut between the two would leave keys, groups and an account that
// nobody knows to be ours, and that would stay when the inventory drops them.
// So a plan with steps also notes in Record.Doing what it is about to give; the
// caller saves that before the first step, and the last step clears it. The
// next plan takes from it what it finds on the host.

// recall takes over what a run that was cut had given to an account.
func (p *planner) recall(ctx context.Context, cred *Credential, had record.User) (record.User, error) {
	cut := p.cut[cred.Name]
	if cut == nil {
		return had, nil
	}
	if cut.Created && !had.Created {
		had.Created = true
		p.user(cred.Name).Created = true
	}
	for _, name := range cut.Groups {
		g, err := lookupGroup(ctx, name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return had, err
		}
		if slices.Contains(cred.Groups, g.gid) && !slices.Contains(had.Groups, name) {
			had.Groups = append(slices.Clone(had.Groups), name)
			p.user(cred.Name).Groups = slices.Clone(had.Groups)
		}
	}
	return had, nil
}

// recallKeys adds to had those keys of a run that was cut that content has.
func (p *planner) recallKeys(name string, content []byte, had record.User) record.User {
	cut := p.cut[name]
	if cut == nil {
		return had
	}
	if found := mergeKeys(content, cut.Keys, cut.Keys, false); len(found.owned) > 0 {
		had.Keys = slices.Clone(had.Keys)
		for _, line := range found.owned {
			if !slices.Contains(found.added, line) && !slices.Contains(had.Keys, line) {
				had.Keys = append(had.Keys, line)
			}
		}
	}
	return had
}

// announce notes what the account's steps are about to give to it.
func (p *planner) announce(want wanted, had record.User, creating bool, groups []group) {
	if len(p.steps) == p.first {
		return
	}
	d := &record.User{Name: want.Name, Created: creating || had.Created, Keys: p.owned, Groups: slices.Clone(had.Groups), Exclusive: want.Exclusive}
	for _, g := range groups {
		if !slices.Contains(d.Groups, g.name) && (creating || slices.Contains(p.joining, g.name)) {
			d.Groups = append(d.Groups, g.name)
		}
	}
	p.rec.Doing[want.Name] = d
	p.last(func() { delete(p.rec.Doing, want.Name) })
}

// halfMade reports whether a run that was cut made this account and came no
// further than its entry: its home is not there, or not yet the user's own.
func (p *planner) halfMade(cred *Credential) bool {
	cut := p.cut[cred.Name]
	if cut == nil || !cut.Created || cred.UID == 0 {
		return false
	}
	var st unix.Stat_t
	err := unix.Lstat(cred.Home, &st)
	return errors.Is(err, fs.ErrNotExist) || err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Uid != cred.UID
}

// unmake removes such an account. A home with anything in it stays, and making
// the account anew is refused over it.
func (t tool) unmake(ctx context.Context, cred *Credential) error {
	if err := os.Remove(cred.Home); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return refused(fmt.Errorf("home %s of user %s, which an earlier run began to make, belongs to another user: %w", cred.Home, cred.Name, err),
			fmt.Sprintf("look what is in it, then remove it: rm -r %s", cred.Home))
	}
	err := t.drop(ctx, cred.Name)
	if _, lerr := Lookup(ctx, cred.Name); errors.Is(lerr, ErrNotFound) {
		return nil // userdel minds that there is no home
	}
	return err
}

// syncHome makes a new home durable: what makes accounts syncs their entries
// only, and after a power cut the account would stand there without it.
func syncHome(home string) error {
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
	if err != nil {
		return fmt.Errorf("sync home: %w", err)
	}
	return durable.SyncDir(filepath.Dir(home))
}
