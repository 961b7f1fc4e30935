// Package record keeps what gofleet has set on this host outside toolchains,
// so that drift can be told from a changed inventory and what was added can
// be taken away again.
package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/wire"
)

// Format is the newest format that this agent reads and writes.
const Format = 1

// Record is the content of <root>/manifests/host.json.
type Record struct {
	Format int               `json:"format"`
	Files  map[string]string `json:"files,omitempty"` // path to Sum of its content, or "link:" and the target
	Kept   map[string]string `json:"kept,omitempty"`  // foreign path to where it is kept aside

	// Users has, by name, what gofleet has set for accounts. Doing is what a run
	// is about to give to them; it is there between runs only if one was cut.
	Users map[string]*User `json:"users,omitempty"`
	Doing map[string]*User `json:"doing_users,omitempty"`

	// What a gofleet that knew one account only wrote in their place. Parse
	// moves it there.
	OldUser  *User `json:"user,omitempty"`
	OldDoing *User `json:"doing,omitempty"`

	Shipped map[string]string   `json:"shipped,omitempty"`  // path of a go.env to the text that its archive shipped
	UserEnv map[string]*UserEnv `json:"user_env,omitempty"` // path of a user's go/env to what gofleet set there

	// Reload: systemd has yet to read what was written for it.
	Reload bool `json:"reload,omitempty"`

	// Netrc has, by user, the lines that gofleet has set in ~/.netrc; "" is who
	// runs the agent. With any, the record is for its owner only.
	Netrc map[string][]NetrcLine `json:"netrc,omitempty"`

	// Gopath are the places that have sources of gofleet_gopath.
	Gopath []Gopath `json:"gopath,omitempty"`

	// Packages are those that gofleet has installed. DoingPackages are what a run
	// is about to install; there are some between runs only if one was cut.
	Packages      []string `json:"packages,omitempty"`
	DoingPackages []string `json:"doing_packages,omitempty"`
	// Directories are, by path, those that gofleet made or gave an owner and mode.
	Directories map[string]*Directory `json:"directories,omitempty"`
	// Time is what gofleet_time has set, and Services what gofleet_services has,
	// by unit.
	Time     *Time               `json:"time,omitempty"`
	Services map[string]*Service `json:"services,omitempty"`

	// Firewall is what gofleet has set in the host's firewall.
	Firewall *Firewall `json:"firewall,omitempty"`

	// DoingEnv is what a run is about to set in the go/env of a user, by name;
	// like Doing.
	DoingEnv map[string]*UserEnv `json:"doing_env,omitempty"`
}

// Firewall is what gofleet has set in ufw or firewalld.
type Firewall struct {
	Tool   string   `json:"tool"`
	Place  string   `json:"place"` // the file that has the rules
	Rules  []string `json:"rules,omitempty"`
	Doing  []string `json:"doing,omitempty"`  // a run was about to add them
	Policy string   `json:"policy,omitempty"` // what the tool had before gofleet shut out what no rule names
	Closed bool     `json:"closed,omitempty"` // gofleet was asked for that
	Active bool     `json:"active,omitempty"`
}

// Time is what gofleet has done about the host's clock.
type Time struct {
	Zone    *Zone  `json:"zone,omitempty"`
	Servers string `json:"servers,omitempty"` // the file with them
	Block   bool   `json:"block,omitempty"`   // they are a block in a file of the daemon's
	Daemon  string `json:"daemon,omitempty"`  // whose file it is
	Restart string `json:"restart,omitempty"` // the daemon that has yet to read it
}

// Zone is the time zone that gofleet has set, "" while a run is about to, and
// what was there before it: where /etc/localtime led, or its content, and the
// content of /etc/timezone.
type Zone struct {
	Name string `json:"name,omitempty"`
	Link string `json:"link,omitempty"`
	File []byte `json:"file,omitempty"`
	Text []byte `json:"text,omitempty"`
}

// Service is what gofleet has made of a unit, and what it was before.
type Service struct {
	Want   string `json:"want"`             // enabled, disabled or masked
	Before string `json:"before"`           // as systemd calls its unit file: enabled, disabled, masked, static, …; runlevels of OpenRC
	Active bool   `json:"active,omitempty"` // it ran
}

// UserEnv is what gofleet has set in a user's go/env file.
type UserEnv struct {
	User   string            `json:"user"`             // whose file it is
	Set    map[string]string `json:"set"`              // values that gofleet set
	Before map[string]string `json:"before,omitempty"` // values of the same names that stood there before
}

// Gopath is a GOPATH and whose it is.
type Gopath struct {
	User string `json:"user,omitempty"` // "" is who runs the agent
	Path string `json:"path,omitempty"` // "" is go in the user's home
}

// String is the place of the sources, for people.
func (p Gopath) String() string {
	if p.Path == "" {
		return "~" + p.User + "/go/src"
	}
	return filepath.Join(p.Path, "src")
}

// NetrcLine is one line of a ~/.netrc.
type NetrcLine struct {
	Machine string `json:"machine"`
	Login   string `json:"login"`
	Sum     string `json:"sum"`             // of the whole line
	Doing   bool   `json:"doing,omitempty"` // a run was about to write it
}

// User is what gofleet has set for an account.
type User struct {
	Name      string   `json:"name"`
	Created   bool     `json:"created"`             // the account was made by gofleet
	Groups    []string `json:"groups,omitempty"`    // those gofleet added
	Keys      []string `json:"keys,omitempty"`      // those gofleet added
	Exclusive bool     `json:"exclusive,omitempty"` // gofleet has taken the keys of others away
}

// Clone is a copy of u that shares nothing with it; of nil, nil.
func (u *User) Clone() *User {
	if u == nil {
		return nil
	}
	c := *u
	c.Groups, c.Keys = slices.Clone(u.Groups), slices.Clone(u.Keys)
	return &c
}

// Directory is what gofleet has set of a directory.
type Directory struct {
	Made  bool     `json:"made"`            // gofleet made it, or was about to
	Above []string `json:"above,omitempty"` // parents that it made with it, the deepest first
	Set   bool     `json:"set"`             // the rest is what it gave
	UID   uint32   `json:"uid"`
	GID   uint32   `json:"gid"`
	Mode  uint32   `json:"mode"` // with setgid and sticky
}

// Sum is the form of a file's content in Files.
func Sum(content []byte) string {
	h := sha256.Sum256(content)
	return hex.EncodeToString(h[:])
}

// Path is where the record of a root lies.
func Path(root string) string { return filepath.Join(root, "manifests", "host.json") }

// Load reads the record; none there gives an empty one. A newer format is an
// error of kind wire.KindFormat.
func Load(root string) (*Record, error) {
	b, err := os.ReadFile(Path(root))
	if errors.Is(err, fs.ErrNotExist) {
		return (&Record{Format: Format}).init(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read host record: %w", err)
	}
	return Parse(b, Path(root))
}

// Parse reads what Encode wrote; path is for errors.
func Parse(text []byte, path string) (*Record, error) {
	r := &Record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, wire.NewError(wire.KindHost, fmt.Errorf("read %s: %w", path, err),
			"the file is damaged; remove it and apply again")
	}
	if r.Format > Format {
		return nil, wire.NewError(wire.KindFormat,
			fmt.Errorf("%s has format %d; this gofleet reads up to %d", path, r.Format, Format),
			"use the newer gofleet that wrote it")
	}
	return r.init(), nil
}

func (r *Record) init() *Record {
	r.Users, r.Doing = clean(r.Users), clean(r.Doing)
	r.UserEnv, r.DoingEnv = clean(r.UserEnv), clean(r.DoingEnv)
	r.Directories, r.Services = clean(r.Directories), clean(r.Services)
	for _, old := range []struct {
		from **User
		to   map[string]*User
	}{{&r.OldUser, r.Users}, {&r.OldDoing, r.Doing}} {
		if u := *old.from; u != nil && old.to[u.Name] == nil {
			old.to[u.Name] = u
		}
		*old.from = nil
	}
	for _, m := range []*map[string]string{&r.Files, &r.Kept, &r.Shipped} {
		if *m == nil {
			*m = map[string]string{}
		}
	}
	if r.Netrc == nil {
		r.Netrc = map[string][]NetrcLine{}
	}
	return r
}

// clean is m, or a new map, without what is null in the file.
func clean[P comparable](m map[string]P) map[string]P {
	if m == nil {
		return map[string]P{}
	}
	var null P
	for key, p := range m {
		if p == null {
			delete(m, key)
		}
	}
	return m
}

// Encode is the text of the record as Save writes it.
func (r *Record) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	return append(b, '\n'), err
}

// Save writes the record durably under root, whose manifests directory must
// exist. An empty record is no file.
func (r *Record) Save(root string) error {
	b, err := r.Encode()
	if err != nil {
		return fmt.Errorf("encode host record: %w", err)
	}
	if none, err := (&Record{Format: r.Format}).Encode(); err == nil && bytes.Equal(b, none) {
		return durable.Remove(Path(root))
	}
	mode := fs.FileMode(0o644)
	if len(r.Netrc) > 0 {
		mode = 0o600 // sums of passwords: others could try words against them
	}
	return durable.WriteFile(Path(root), b, mode)
}
