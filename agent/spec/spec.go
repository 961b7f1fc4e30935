// Package spec turns the variables of one host into a typed Spec: what that
// host should be. It holds every default, every rule and every error message
// about variables, so that gofleet and the Ansible module cannot differ. It
// knows nothing of files, inventories or hosts.
package spec

import "time"

// Spec is what one host should be. A Spec made by Parse is valid; it also
// travels to the agent as JSON.
type Spec struct {
	GoVersion   string              `json:"go_version,omitempty"`  // "1.26.8", without "go"; empty where the command needs none
	Archives    string              `json:"archives,omitempty"`    // directory, URL or bundle, as written; the controller resolves it
	TrustedKeys []string            `json:"-"`                     // whose bundles are taken: minisign public keys, paths of files with one, or "any"
	SHA256      map[Platform]string `json:"sha256,omitempty"`      // pins, lower-case hex
	Root        string              `json:"root"`                  // absolute
	Link        string              `json:"link"`                  // absolute
	Keep        int                 `json:"keep"`                  // older toolchains kept for rollback
	Env         map[string]string   `json:"env,omitempty"`         // variables of the go command, for go.env
	Environment map[string]string   `json:"environment,omitempty"` // other variables, for sessions and services
	// EnvironmentFiles are where Environment is written, in the order of the
	// constants: EnvironmentProfile and so on.
	EnvironmentFiles []string      `json:"environment_files,omitempty"`
	Verify           Verify        `json:"verify"`
	User             *User         `json:"user,omitempty"`  // the deploy user
	Users            []User        `json:"users,omitempty"` // accounts beside it
	Preconditions    Preconditions `json:"preconditions"`
	SLO              *SLO          `json:"slo,omitempty"`
	Uniform          []string      `json:"uniform,omitempty"` // facts that an audit compares with those of other hosts
	Directories      []Directory   `json:"directories,omitempty"`
	// CACertificates are PEM texts or paths of files with some, as written; what
	// travels is one certificate each, in canonical PEM.
	CACertificates []string     `json:"ca_certificates,omitempty"`
	Netrc          []NetrcEntry `json:"netrc,omitempty"`   // of the deploy user, without one of who runs the agent
	Modules        *Modules     `json:"modules,omitempty"` // Env has what it needs
	Gopath         *Gopath      `json:"gopath,omitempty"`  // likewise
	Cache          *Cache       `json:"cache,omitempty"`   // Env and Directories have what it needs
	Packages       []Package    `json:"packages,omitempty"`
	Time           *Time        `json:"time,omitempty"`
	Services       *Services    `json:"services,omitempty"`
	Firewall       *Firewall    `json:"firewall,omitempty"`
	// Image: the host is the root of a system that does not run. No variable says it.
	Image    bool     `json:"image,omitempty"`
	SiteSeed SiteSeed `json:"-"` // it says how bytes travel, not what the host is
}

// Verification levels, from cheap to thorough. Each includes those before it.
const (
	VerifyQuick = "quick" // go version, go env, one import-free compile
	VerifyBuild = "build" // a program built and run offline as the deploy user
	VerifyCgo   = "cgo"   // the same with cgo
)

// Verify says how an installed toolchain is proved to work before the link is
// switched to it.
type Verify struct {
	Level    string    `json:"level"`
	Commands []Command `json:"commands,omitempty"`
}

// Command is one check command of gofleet_verify.
type Command struct {
	Command []string      `json:"command"` // argv; no shell
	User    string        `json:"user,omitempty"`
	Chdir   string        `json:"chdir,omitempty"`
	Timeout time.Duration `json:"timeout"`           // nanoseconds in JSON
	Retries int           `json:"retries,omitempty"` // further tries after the first
	RC      int           `json:"rc,omitempty"`      // the exit code that counts as good
}

// User is an account that a host has: the deploy user, or one of gofleet_users.
type User struct {
	Name           string   `json:"name"`
	UID            uint32   `json:"uid,omitempty"`   // 0: whichever the host gives
	GID            uint32   `json:"gid,omitempty"`   // of the primary group; 0: any
	Group          string   `json:"group,omitempty"` // the primary group; "": whichever the host gives
	Home           string   `json:"home,omitempty"`  // absolute; "": where the host has homes
	Shell          string   `json:"shell,omitempty"`
	Groups         []string `json:"groups,omitempty"`
	AuthorizedKeys []string `json:"authorized_keys,omitempty"` // each one line, parsed
	Exclusive      bool     `json:"exclusive,omitempty"`       // authorized_keys has these keys and no others
	Sudo           []string `json:"sudo,omitempty"`            // absolute commands allowed without a password; empty means none
}

// Accounts are all users that the host is to have: the deploy user first.
func (s *Spec) Accounts() []User {
	if s.User == nil {
		return s.Users
	}
	return append([]User{*s.User}, s.Users...)
}

// Preconditions are the requirements on a host. A nil pointer or slice, an
// empty string: that check is off.
type Preconditions struct {
	OS            []string             `json:"os,omitempty"`
	Arch          []string             `json:"arch,omitempty"` // as uname -m says it: x86_64, aarch64
	Kernel        *VersionRange        `json:"kernel,omitempty"`
	Glibc         *VersionRange        `json:"glibc,omitempty"`
	CPUs          *Amount              `json:"cpus,omitempty"`
	Memory        *Amount              `json:"memory,omitempty"` // bytes; passes at 90 % of the figure
	Disk          *Amount              `json:"disk,omitempty"`   // bytes
	Inodes        *Amount              `json:"inodes,omitempty"`
	Noexec        string               `json:"noexec,omitempty"` // "fail", "warn" or "" (off)
	Clock         *Clock               `json:"clock,omitempty"`
	Distributions *Distributions       `json:"distributions,omitempty"`
	Commands      []CommandRequirement `json:"commands,omitempty"`
	Cgo           *Cgo                 `json:"cgo,omitempty"`
	ModuleProxy   *ModuleProxy         `json:"module_proxy,omitempty"`
}

// Cgo is the C toolchain that cgo needs: compiler, assembler, linker, headers
// and start files of the C library, and what is asked for beside them.
type Cgo struct {
	Min       string `json:"min,omitempty"` // lowest version of the compilers
	CXX       bool   `json:"cxx"`
	PkgConfig bool   `json:"pkg_config"`
}

// ModuleProxy is what asking the servers of GOPROXY means.
type ModuleProxy struct {
	On      string        `json:"on"`      // "fail" or "warn": what trouble does
	Module  string        `json:"module"`  // that is asked for; one that isn't there is fine
	Timeout time.Duration `json:"timeout"` // for each server
}

// VersionRange has dotted versions; below Min fails, below Recommended warns.
type VersionRange struct {
	Min         string `json:"min,omitempty"`
	Recommended string `json:"recommended,omitempty"`
}

// Amount has numbers; below Min fails, below Recommended warns; 0 is off.
type Amount struct {
	Min         int64 `json:"min,omitempty"`
	Recommended int64 `json:"recommended,omitempty"`
}

// Clock bounds the difference between host and controller; beyond it warns.
type Clock struct {
	MaxSkew time.Duration `json:"max_skew"`
}

// Distributions lists conditions such as "ubuntu>=20.04", "debian" or
// "rocky>=8". A host passes when any one of a list holds; an empty list is off.
type Distributions struct {
	Required    []string `json:"required,omitempty"`
	Recommended []string `json:"recommended,omitempty"`
}

// CommandRequirement is a program that must be on the host's PATH.
type CommandRequirement struct {
	Name string `json:"name"`
	Min  string `json:"min,omitempty"` // lowest version that its --version may say
}
