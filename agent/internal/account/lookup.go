package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/asuser"
	"github.com/gofleet/gofleet/agent/internal/hostcmd"
)

// ErrNotFound is returned for an account or group that the host doesn't know.
var ErrNotFound = errors.New("is not on this host")

// Credential is an account as the host's name service knows it, LDAP and SSSD
// included.
type Credential struct {
	Name     string
	UID, GID uint32
	Groups   []uint32 // all of them, GID too
	Home     string
	Shell    string
}

// Identity is what a child becomes to work in the account's home.
func (c *Credential) Identity() asuser.Identity {
	return asuser.Identity{UID: c.UID, GID: c.GID, Groups: c.Groups}
}

// Lookup finds an account by name. One that the host doesn't know is
// ErrNotFound.
func Lookup(ctx context.Context, name string) (*Credential, error) {
	c, err := lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	if c.Groups, err = groupsOf(ctx, name, c.GID); err != nil {
		return nil, fmt.Errorf("look up the groups of %s: %w", name, err)
	}
	return c, nil
}

// lookup is Lookup without the groups.
func lookup(ctx context.Context, name string) (*Credential, error) {
	if err := checkName("user", name); err != nil {
		return nil, err
	}
	line, err := entry(ctx, "passwd", name)
	if err != nil {
		return nil, fmt.Errorf("user %s %w", name, err)
	}
	c, err := parsePasswd(line)
	if err != nil {
		return nil, fmt.Errorf("look up user %s: %w", name, err)
	}
	return c, nil
}

// Numbers finds the uid of an account and the gid of its primary group.
func Numbers(ctx context.Context, name string) (uid, gid uint32, err error) {
	c, err := lookup(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	return c.UID, c.GID, nil
}

// GroupNumber is Numbers for a group.
func GroupNumber(ctx context.Context, name string) (gid uint32, err error) {
	g, err := lookupGroup(ctx, name)
	if err != nil {
		return 0, err
	}
	return g.gid, nil
}

// ErrNoHome is returned for a process that was started without a home.
var ErrNoHome = errors.New("HOME is no absolute path, so there is no place")

// LookupOrSelf is Lookup, and for "" who runs this process, with the home that
// it was started with.
func LookupOrSelf(ctx context.Context, name string) (*Credential, error) {
	if name != "" {
		return Lookup(ctx, name)
	}
	home := os.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return nil, ErrNoHome
	}
	return &Credential{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Home: home}, nil
}

// parsePasswd reads name:password:uid:gid:gecos:home:shell.
func parsePasswd(line string) (*Credential, error) {
	f := strings.Split(line, ":")
	if len(f) != 7 {
		return nil, fmt.Errorf("entry %q has %d fields, not 7", hostcmd.Printable(line, 80), len(f))
	}
	uid, err1 := strconv.ParseUint(f[2], 10, 32)
	gid, err2 := strconv.ParseUint(f[3], 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	shell := f[6]
	if shell == "" {
		shell = "/bin/sh" // passwd(5)
	}
	return &Credential{Name: f[0], UID: uint32(uid), GID: uint32(gid), Home: f[5], Shell: shell}, nil
}

// group is a group of the host.
type group struct {
	name  string
	gid   uint32
	local bool // in /etc/group, so that members can be added here
	made  bool // by an account that the same run makes; its number is not known yet
}

func lookupGroup(ctx context.Context, name string) (*group, error) {
	if err := checkName("group", name); err != nil {
		return nil, err
	}
	line, err := entry(ctx, "group", name)
	if err != nil {
		return nil, fmt.Errorf("group %s %w", name, err)
	}
	f := strings.Split(line, ":")
	if len(f) != 4 {
		return nil, fmt.Errorf("look up group %s: entry has %d fields, not 4", name, len(f))
	}
	gid, err := strconv.ParseUint(f[2], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("look up group %s: %w", name, err)
	}
	_, err = fileEntry("/etc/group", name)
	return &group{name: name, gid: uint32(gid), local: err == nil}, nil
}

// entry asks the name service for one line of a database. The host's own file
// is read here, where it is what the name service asks first: a program less
// for nearly every account. Without getent it is all that there is.
func entry(ctx context.Context, database, name string) (string, error) {
	getent := hostcmd.Find("getent")
	if getent == "" {
		return fileEntry("/etc/"+database, name)
	}
	if conf, err := os.ReadFile("/etc/nsswitch.conf"); err == nil && filesFirst(string(conf), database) {
		if line, err := fileEntry("/etc/"+database, name); err == nil {
			return line, nil
		}
	}
	out, err := hostcmd.Run(ctx, "", getent, database, name)
	var exit *hostcmd.ExitError
	if errors.As(err, &exit) && exit.Code == 2 {
		return "", ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("cannot be looked up: %w", err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line, nil
}

// filesFirst reports whether the text of nsswitch.conf(5) has a database's own file first,
// and nothing that overrides what is found there. Merging adds members to a
// group and changes nothing else.
func filesFirst(conf, database string) bool {
	for _, line := range strings.SplitAfter(conf, "\n") {
		line, _, _ = strings.Cut(line, "#")
		name, sources, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) != database {
			continue
		}
		f := strings.Fields(sources)
		return len(f) > 0 && f[0] == "files" && (len(f) == 1 || f[1] == "[SUCCESS=merge]" || f[1][0] != '[')
	}
	return false
}

// nameOr is the name of a uid or gid in a database, or the number itself where
// nothing on the host has it.
func nameOr(ctx context.Context, database string, id uint32) string {
	number := strconv.FormatUint(uint64(id), 10)
	var line string
	if getent := hostcmd.Find("getent"); getent != "" {
		out, _ := hostcmd.Run(ctx, "", getent, database, number)
		line, _, _ = strings.Cut(string(out), "\n")
	} else if b, err := os.ReadFile("/etc/" + database); err == nil {
		for _, l := range strings.SplitAfter(string(b), "\n") {
			if f := strings.Split(l, ":"); len(f) > 2 && f[2] == number {
				line = l
				break
			}
		}
	}
	if name, _, found := strings.Cut(line, ":"); found {
		return hostcmd.Printable(name, 64)
	}
	return number
}

func fileEntry(file, name string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("cannot be looked up: %w", err)
	}
	for _, line := range strings.SplitAfter(string(b), "\n") {
		if strings.HasPrefix(line, name+":") {
			return strings.TrimSuffix(line, "\n"), nil
		}
	}
	return "", ErrNotFound
}

func groupsOf(ctx context.Context, name string, gid uint32) ([]uint32, error) {
	groups := []uint32{gid}
	id := hostcmd.Find("id")
	if id == "" {
		return groupsInFile(name, groups)
	}
	out, err := hostcmd.Run(ctx, "", id, "-G", name)
	if err != nil {
		return nil, err
	}
	for _, f := range bytes.Fields(out) {
		n, err := strconv.ParseUint(string(f), 10, 32)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(groups, uint32(n)) {
			groups = append(groups, uint32(n))
		}
	}
	return groups, nil
}

func groupsInFile(name string, groups []uint32) ([]uint32, error) {
	b, err := os.ReadFile("/etc/group")
	if err != nil {
		return nil, err
	}
	for _, line := range strings.SplitAfter(string(b), "\n") {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 4 || !slices.Contains(strings.Split(f[3], ","), name) {
			continue
		}
		if n, err := strconv.ParseUint(f[2], 10, 32); err == nil && !slices.Contains(groups, uint32(n)) {
			groups = append(groups, uint32(n))
		}
	}
	return groups, nil
}

// checkName refuses what a program could take for an option, a number (getent
// takes it for a uid), a path or a second field.
func checkName(what, name string) error {
	ok := name != "" && len(name) <= 256 && name[0] != '-' && name[0] != '.'
	digits := true
	for _, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		digit := '0' <= r && r <= '9'
		ok = ok && (letter || digit || strings.ContainsRune("-.@", r))
		digits = digits && digit
	}
	if !ok || digits {
		return refused(fmt.Errorf("%q is not a name for a %s", name, what),
			"use letters, digits, _ - . and @, not digits alone")
	}
	return nil
}
