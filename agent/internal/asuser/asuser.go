// Package asuser looks at and changes files in a user's home with that user's
// rights. Root has no business there: a link that the user put in place of a
// file would be followed with root's rights, and on an NFS export with
// root_squash root can do nothing. So root starts a child, which becomes the
// user for good and then does one short list of operations, refusing links.
package asuser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Command is the agent's first argument that makes it the child. The program's
// main, and a test's TestMain, call Main when they see it.
const Command = "as-user"

// guard is set in the child's environment. A program that does not call Main
// would start itself again and again; with it, the second start is refused.
const guard = "GOFLEET_AS_USER"

const (
	// MaxFile is the largest file that is read from a home, in bytes.
	MaxFile = 1 << 20

	maxMessage = 8 << 20
	timeout    = time.Minute // a home on a dead NFS server
)

// Identity is what the child becomes. UID 0 is refused.
type Identity struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"` // all of the user's groups
}

// Act is what an Op does.
type Act string

// The acts. Each gives the Entry that stood at Path before it.
const (
	Look   Act = "look"
	Mkdir  Act = "mkdir"  // a directory with exactly Mode; one that is there stays as it is
	Write  Act = "write"  // a file with Content and exactly Mode, replaced in one rename, fsynced
	Chmod  Act = "chmod"  // of a file or directory
	Sum    Act = "sum"    // Look with the sum of a file of any size in place of its content
	Copy   Act = "copy"   // Write of what the file From has, whose sum is Sum; on disk once all ops are done
	Remove Act = "remove" // a file, or a directory if it is empty; what isn't there is no error
)

// Op is one operation in the home. Path is relative to it, clean and without
// ".."; "." is the home itself. No component of Path may be a link.
type Op struct {
	Act     Act    `json:"act"`
	Path    string `json:"path"`
	Mode    uint32 `json:"mode,omitempty"`
	Content []byte `json:"content,omitempty"`
	From    string `json:"from,omitempty"`  // Copy: absolute; the user must be able to read it
	Sum     string `json:"sum,omitempty"`   // Copy: sha256 in hex
	Group   *int   `json:"group,omitempty"` // Write: the file's group; nil is the one it had
}

// Type is what stands at a path.
type Type string

// The types of an Entry.
const (
	Absent Type = ""
	File   Type = "file"
	Dir    Type = "dir"
	Link   Type = "link"
	Other  Type = "other"
)

// Entry is what stood at a path.
type Entry struct {
	Type    Type   `json:"type,omitempty"`
	Mode    uint32 `json:"mode,omitempty"` // permissions with setuid, setgid and sticky
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Content []byte `json:"content,omitempty"` // of a file, but for Sum and Copy
	Sum     string `json:"sum,omitempty"`     // for Sum: of a file, sha256 in hex
}

// RefusedError is a path where something else stands than what is wanted, or
// that the user may not change. Nothing was done.
type RefusedError struct {
	Path   string `json:"path"` // absolute
	Reason string `json:"reason"`
}

func (e *RefusedError) Error() string { return e.Path + " " + e.Reason }

// job is what the child reads, answer what it says.
type job struct {
	Identity
	Home string `json:"home"`
	Ops  []Op   `json:"ops"`
}

type answer struct {
	Entries []Entry       `json:"entries"` // of the ops that were done
	Refused *RefusedError `json:"refused,omitempty"`
	Failed  string        `json:"failed,omitempty"`
}

// Do does ops in order as the user and stops at the first that fails. The
// entries are those of the ops that were done, also with an error. What stands
// in the way is a *RefusedError.
func Do(ctx context.Context, id Identity, home string, ops ...Op) ([]Entry, error) {
	j := job{Identity: id, Home: home, Ops: ops}
	var a answer
	switch {
	case id.UID == 0:
		return nil, errors.New("work in a home as uid 0: refused")
	case !filepath.IsAbs(home):
		return nil, fmt.Errorf("home %q is not an absolute path", home)
	case int(id.UID) == os.Geteuid():
		a = j.run()
	default:
		if err := j.start(ctx, &a); err != nil {
			return nil, fmt.Errorf("work in %s as uid %d: %w", home, id.UID, err)
		}
	}
	switch {
	case a.Refused != nil:
		return a.Entries, a.Refused
	case a.Failed != "":
		return a.Entries, errors.New(a.Failed)
	case len(a.Entries) != len(ops):
		return a.Entries, fmt.Errorf("work in %s as uid %d: %d of %d operations were answered", home, id.UID, len(a.Entries), len(ops))
	}
	return a.Entries, nil
}

// start runs the job in a child. The child is this same program: its file may
// be unlinked and readable by root only, so it drops its rights itself, after
// it was executed.
func (j job) start(ctx context.Context, a *answer) error {
	if os.Getenv(guard) != "" {
		return fmt.Errorf("this program does not know %q: its main must call asuser.Main", Command)
	}
	in, err := json.Marshal(j)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var out, stderr limited
	cmd := exec.CommandContext(ctx, "/proc/self/exe", Command)
	cmd.Env = []string{guard + "=1"}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &stderr
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if jerr := json.Unmarshal(out.Bytes(), a); jerr != nil {
		return errors.Join(err, fmt.Errorf("the child gave no answer: %q", firstLine(stderr.String())))
	}
	return err
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s[:min(len(s), 200)]
}

// limited keeps at most maxMessage bytes.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxMessage {
		return 0, errors.New("answer is too long")
	}
	return l.Buffer.Write(p)
}

// Main is the child: it reads one job, becomes the user, does the job and
// answers. It gives the exit code.
func Main(stdin io.Reader, stdout io.Writer) int {
	var j job
	var a answer
	if err := json.NewDecoder(io.LimitReader(stdin, maxMessage)).Decode(&j); err != nil {
		a.Failed = fmt.Sprintf("read the job: %v", err)
	} else if err := become(j.Identity); err != nil {
		a.Failed = fmt.Sprintf("become uid %d: %v", j.UID, err)
	} else {
		a = j.run()
	}
	if err := json.NewEncoder(stdout).Encode(a); err != nil {
		return 1
	}
	return 0
}
