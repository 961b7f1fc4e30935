// Package wire holds the messages that controller and agent exchange, and
// nothing else: no I/O on hosts, no policy. Both sides are built from this
// package, so Hello's protocol number must be equal on both.
package wire

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
)

// Protocol is the number that Hello carries. It changes with any message.
const Protocol = 6

// Hello is the first thing an agent says, on a line of its own behind the
// random marker that it was started with.
type Hello struct {
	Protocol int           `json:"protocol"`
	Agent    string        `json:"agent"` // gofleet's version
	Platform spec.Platform `json:"platform"`
	PID      int           `json:"pid"`
	UID      int           `json:"uid"`       // what the agent runs as
	LoginUID int           `json:"login_uid"` // who logged in, before become
	Cached   bool          `json:"cached"`    // started from the host's cache
}

// Action is what a Task asks for.
type Action string

// The actions. Audit never changes anything; Task.Check turns the others into
// descriptions.
const (
	Apply    Action = "apply"
	Audit    Action = "audit"
	Rollback Action = "rollback"
	Remove   Action = "remove"
	Confirm  Action = "confirm" // this login came through a firewall's new rules: they stay
	Serve    Action = "seed"    // keep transfers for the time of the connection, and hand them to other hosts
)

// Task is an order: the one of a connection, unless it says Stay.
type Task struct {
	Run        string    `json:"run"`        // the run's id
	Host       string    `json:"host"`       // the inventory's name
	Controller string    `json:"controller"` // who asks: user@machine, for the message that a host is locked
	Action     Action    `json:"action"`
	Check      bool      `json:"check,omitempty"`
	Diff       bool      `json:"diff,omitempty"`
	Deep       bool      `json:"deep,omitempty"`    // hash every file
	Verify     bool      `json:"verify,omitempty"`  // of an audit: run the commands of gofleet_verify with the current toolchain too
	Version    string    `json:"version,omitempty"` // rollback --to; remove --version ("" removes all that is ours)
	Gofleet    string    `json:"gofleet"`           // the controller's version
	Now        time.Time `json:"now"`               // the controller's clock when the Task was sent
	Spec       spec.Spec `json:"spec"`
	Release    *Release  `json:"release,omitempty"` // nil: the controller has no archive for this platform
	Missing    string    `json:"missing,omitempty"` // why Release is nil, for the error if it is needed
	Stay       bool      `json:"stay,omitempty"`    // another Task may come behind the report
	Seed       *Seed     `json:"seed,omitempty"`    // of Serve
	Token      string    `json:"token,omitempty"`   // of Confirm: from Event.Prove
	Compare    bool      `json:"compare,omitempty"` // what Release holds may be asked for, and then a part of it
	// Modules is the module cache that the controller offers, in a Release of
	// which only Name, Evidence and Tree are set. Only a difference of it travels.
	Modules *Release `json:"modules,omitempty"`
	Gopath  *Release `json:"gopath,omitempty"` // likewise the sources of gofleet_gopath
	// Packages are those of the bundle, for all its distributions. Without any,
	// NoPackages says why, for the error if some are needed.
	Packages   *Release `json:"packages,omitempty"`
	NoPackages string   `json:"no_packages,omitempty"`
}

// Part is what travels beside the release: a tree of files.
type Part string

// The parts. Each is also the name of its link in the root.
const (
	PartModules  Part = "modules"
	PartGopath   Part = "gopath"
	PartPackages Part = "packages" // which has no link: nothing of it stays
)

// Release is the verified archive that the controller offers.
type Release struct {
	Version  string        `json:"version"`
	Platform spec.Platform `json:"platform,omitzero"`
	Name     string        `json:"name"`     // the file's name
	SHA256   string        `json:"sha256"`   // of the archive as published
	Evidence string        `json:"evidence"` // why it is believed, one line, kept in the manifest
	Tree     Tree          `json:"tree"`     // zero where nobody has looked inside: then only the archive itself may travel
}

// Tree is what the verified archive holds. SHA256 is that of the tree
// manifest's text; the counts bound what an extraction may write.
type Tree struct {
	SHA256 string `json:"sha256"`
	Files  int    `json:"files"`
	Dirs   int    `json:"dirs"`
	Bytes  int64  `json:"bytes"` // content of all files
}

// Seed is how a host serves others of its site.
type Seed struct {
	Key  []byte `json:"key"`            // of this run: who has it may fetch
	Port int    `json:"port,omitempty"` // to listen on; 0: a free one
}

// Serving says where a seed is listening: at any of its addresses, of 4 or 16
// bytes.
type Serving struct {
	Addresses [][]byte `json:"addresses"`
	Port      int      `json:"port"`
}

// Source is a seed that has a transfer, or is getting it.
type Source struct {
	Serving
	Key []byte `json:"key"`
}

// Encodings of what travels: a tar stream, compressed.
const (
	Gzip = "gzip"
	Zstd = "zstd"
)

// Transfer is what travels: the archive itself, its zstd form, or a difference.
// It is sent when an agent wants it, so that a run in which no host does makes
// no zstd.
type Transfer struct {
	Encoding  string `json:"encoding"`
	SHA256    string `json:"sha256"` // of all the bytes that travel
	Size      int64  `json:"size"`
	ChunkSize int64  `json:"chunk_size"`
	// Difference is set for a stream of those files' contents alone that
	// Event.Lacks named: one after the other in the manifest's order, with
	// nothing in between.
	Difference bool `json:"difference,omitempty"`
	// Manifest is the tree manifest, packed; Tree.SHA256 proves it. Without it
	// the host hashes every file to make its own.
	Manifest []byte   `json:"manifest,omitempty"`
	Chunks   []string `json:"chunks"` // sha256 of each chunk, so that a resumed upload keeps only what is right
	// Whole says that a file as long as the transfer is no broken upload: it is
	// extracted at once, and only the sum of the whole proves it.
	Whole bool `json:"whole,omitempty"`
	// From is a seed that the bytes are to come from. Where they don't,
	// Event.Need asks the controller for the rest.
	From *Source `json:"from,omitempty"`
}

// Command is a message from the controller. Exactly one field is set.
type Command struct {
	Task     *Task     `json:"task,omitempty"`
	Manifest []byte    `json:"manifest,omitempty"` // the answer to Event.Compare and Event.Index: the tree manifest or the file, packed
	Send     *Transfer `json:"send,omitempty"`     // the answer to Event.Want and Event.Lacks: what will travel
	Have     *int64    `json:"have,omitempty"`     // SFTP: the upload is contiguous up to here
	Data     *int64    `json:"data,omitempty"`     // this many raw bytes follow, at most MaxData, to be appended to the upload
	Proof    *Proof    `json:"proof,omitempty"`    // the answer to Event.Prove
	Ping     bool      `json:"ping,omitempty"`
	Ready    bool      `json:"ready,omitempty"` // to an agent that stayed: is it still there? It answers with Event.Ready
	Stop     bool      `json:"stop,omitempty"`  // abandon, unless a switch has begun
}

// Proof is how the fresh login went that Event.Prove asked for.
type Proof struct {
	Token string `json:"token"`
	Error *Error `json:"error,omitempty"` // nil: the host has confirmed it
}

// Event is a message from the agent. Exactly one field is set, Part apart.
type Event struct {
	Phase   string `json:"phase,omitempty"`   // check, wait, receive, account, verify, switch, environment, ...
	Waiting string `json:"waiting,omitempty"` // the lock is held by: who
	Compare bool   `json:"compare,omitempty"` // something of the release may be here: answer with Command.Manifest
	// Index asks for one small file of Part: answer with Command.Manifest.
	Index string `json:"index,omitempty"`
	Want  bool   `json:"want,omitempty"` // the archive is needed: answer with Command.Send
	// Lacks is Want of some files only: ranges of entries of the tree manifest,
	// each its first and their number. The answer may still be all of it.
	Lacks    [][2]int `json:"lacks,omitempty"`
	Need     *Need    `json:"need,omitempty"`
	Prove    string   `json:"prove,omitempty"`    // log in afresh and send there a Task to Confirm this token; then answer with Command.Proof
	Part     Part     `json:"part,omitempty"`     // beside Compare, Lacks and Need: which it is about, if not the release
	Fetched  int64    `json:"fetched,omitempty"`  // the upload is contiguous up to here, and this part came from the seed
	Serving  *Serving `json:"serving,omitempty"`  // of a seed: it listens; each Need after that asks for the Transfer that was sent
	Received int64    `json:"received,omitempty"` // bytes of the transfer that are hashed and extracted
	Ready    bool     `json:"ready,omitempty"`    // the answer to Command.Ready
	Report   *Report  `json:"report,omitempty"`   // the task's last
}

// Need asks for the bytes of the Transfer from Offset on. Path is an
// existing empty or partial file that the login user may open for writing.
type Need struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
	Lost   string `json:"lost,omitempty"` // why the seed did not bring it
}

// Status is how a host stands at the end.
type Status string

// The statuses of a host. Unreachable and Skipped are the controller's.
const (
	OK          Status = "ok"
	Changed     Status = "changed"
	Drifted     Status = "drifted"
	Failed      Status = "failed"
	Unmet       Status = "unmet"
	Unreachable Status = "unreachable"
	Skipped     Status = "skipped"
)

// Report is what an agent says at the end.
type Report struct {
	Status   Status             `json:"status"`
	Changed  bool               `json:"changed"`
	Go       GoChange           `json:"go"`
	Facts    *Facts             `json:"facts,omitempty"`
	Checks   []Check            `json:"checks,omitempty"`
	Actions  []ActionResult     `json:"actions,omitempty"`
	Drift    []Drift            `json:"drift,omitempty"`
	Warnings []string           `json:"warnings,omitempty"`
	Error    *Error             `json:"error,omitempty"`
	Seconds  map[string]float64 `json:"seconds,omitempty"` // by phase
}

// Drift is something that is no longer as gofleet left it.
type Drift struct {
	Path string `json:"path"`
	// How is one or more of "content", "mode 0777, not 0755", "owner 1000, not
	// 0", "a link, not a file", "missing", "extra", joined with "; ".
	How string `json:"how"`
}

// Paths are those of drift.
func Paths(drift []Drift) []string {
	paths := make([]string, len(drift))
	for i, d := range drift {
		paths[i] = d.Path
	}
	return paths
}

// GoChange holds versions without "go"; empty means none.
type GoChange struct {
	Before string `json:"before"`
	After  string `json:"after"`
}

// CheckStatus is the outcome of one check.
type CheckStatus string

// The outcomes of a check.
const (
	Pass CheckStatus = "pass"
	Warn CheckStatus = "warn"
	Fail CheckStatus = "fail"
)

// Check is the result of one precondition.
type Check struct {
	Name   string      `json:"name"`
	Status CheckStatus `json:"status"`
	Actual string      `json:"actual"`
	Wanted string      `json:"wanted"`
	Hint   string      `json:"hint,omitempty"`
}

// ActionResult is one change that was made or, in check mode, would be.
type ActionResult struct {
	Name    string `json:"name"`
	Changed bool   `json:"changed"`
	Diff    string `json:"diff,omitempty"`
}

// Facts are what an agent knows of its host. The controller also makes them,
// with less in them, from what a shell said where no agent could start.
type Facts struct {
	OS           string `json:"os,omitempty"` // lower case: linux
	Hostname     string `json:"hostname"`
	Kernel       string `json:"kernel"`
	Machine      string `json:"machine"` // uname -m
	Bits         int    `json:"bits"`    // of the userland; 0 is unknown
	Distribution string `json:"distribution"`
	DistVersion  string `json:"distribution_version"`
	Libc         string `json:"libc"` // "glibc 2.36", "musl 1.2.4" or "none"
	CPUs         int    `json:"cpus"`
	CPULimit     string `json:"cpu_limit,omitempty"` // what allows fewer CPUs than the machine has
	Memory       int64  `json:"memory"`
	MemoryLimit  string `json:"memory_limit,omitempty"` // what allows less memory than the machine has
	DiskPath     string `json:"disk_path,omitempty"`    // where the next four hold: gofleet_root or its nearest parent
	DiskFree     int64  `json:"disk_free"`              // bytes; -1 is unknown
	InodesFree   int64  `json:"inodes_free"`            // -1: the filesystem has no limit, or it is unknown
	ReadOnly     bool   `json:"read_only,omitempty"`
	Noexec       bool   `json:"noexec,omitempty"`

	Zone     string            `json:"zone,omitempty"`     // time zone: Europe/Berlin; "" is unknown
	Clock    time.Time         `json:"clock"`              // the host's, when the facts were gathered
	Commands map[string]string `json:"commands,omitempty"` // required commands that are there, with the version if it was asked for
	Cgo      []CgoPart         `json:"cgo,omitempty"`      // of the C toolchain, if it was asked for
}

// CgoPart is one part of the C toolchain as a host has it.
type CgoPart struct {
	Name    string `json:"name"`              // gcc, cc1, as, ld, headers, crt1.o, libc, target, g++, cc1plus, libstdc++, pkg-config, program
	Found   string `json:"found,omitempty"`   // where, or its version; "" is missing
	Problem string `json:"problem,omitempty"` // why it is of no use though it is there
}

// Valid says what in a report no agent says. What a host says of itself counts
// in a run's exit code, and the statuses are printed and kept as they are.
func (r *Report) Valid() error {
	if !slices.Contains([]Status{OK, Changed, Drifted, Failed, Unmet}, r.Status) {
		return fmt.Errorf("status %q", r.Status)
	}
	for _, c := range r.Checks {
		if c.Status != Pass && c.Status != Warn && c.Status != Fail {
			return fmt.Errorf("check with status %q", c.Status)
		}
	}
	if e := r.Error; e != nil && (e.Kind == "" || strings.Trim(string(e.Kind), "abcdefghijklmnopqrstuvwxyz_") != "") {
		return fmt.Errorf("error of kind %q", e.Kind)
	}
	return nil
}
