// Package agents holds the agent binaries of every platform, compressed and
// embedded. `make agents` puts them in place before gofleet is built.
package agents

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
)

//go:embed bin
var files embed.FS

// Binary is one platform's agent.
type Binary struct {
	Platform spec.Platform
	SHA256   string // of the program, lower-case hex; it names the agent on hosts
	Size     int64  // of the program
	Gzip     []byte // the program, compressed
}

// ErrMissing is returned where gofleet was built without agents.
var ErrMissing = errors.New("this gofleet was built without them: run `make build`")

// Set is the embedded agents by platform.
type Set map[spec.Platform]Binary

// Load reads the embedded index. A gofleet built without agents gives an
// error that wraps ErrMissing.
func Load() (Set, error) { return load(files) }

// load reads bin/index: a line "linux/amd64 <sha256> <size>" for each agent,
// which lies beside it as gofleet-agent-linux-amd64.gz.
func load(fsys fs.FS) (Set, error) {
	index, err := fs.ReadFile(fsys, "bin/index")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load agents: %w", ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("load agents: %w", err)
	}
	set := Set{}
	lines := bufio.NewScanner(bytes.NewReader(index))
	for lines.Scan() {
		b, err := parse(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("load agents: %w", err)
		}
		if b.Gzip, err = fs.ReadFile(fsys, "bin/gofleet-agent-"+b.Platform.Dashed()+".gz"); err != nil {
			return nil, fmt.Errorf("load agent of %s: %w", b.Platform, err)
		}
		set[b.Platform] = b
	}
	return set, nil
}

func parse(line string) (Binary, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return Binary{}, fmt.Errorf("index line %q has not three fields", line)
	}
	p, err := spec.ParsePlatform(fields[0])
	if err != nil {
		return Binary{}, err
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return Binary{}, fmt.Errorf("index line %q: %w", line, err)
	}
	return Binary{Platform: p, SHA256: fields[1], Size: size}, nil
}

// Platforms are those that the set serves, sorted.
func (s Set) Platforms() []spec.Platform {
	out := make([]spec.Platform, 0, len(s))
	for p := range s {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b spec.Platform) int { return strings.Compare(a.String(), b.String()) })
	return out
}
