package release

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/gofleet/gofleet/agent/spec"
)

// hostPlatform stands where a platform is asked for and none matters.
var hostPlatform = spec.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}

// maxHeads is how many tree heads are remembered.
const maxHeads = 256

func (c cache) headsFile(db string) string {
	return filepath.Join(c.dir, "sumdb", filepath.FromSlash(db), "heads")
}

func headLine(t tlog.Tree) string { return fmt.Sprintf("%d %s", t.N, t.Hash) }

// sawHead tells whether a head was found to go with the others before. An
// older bundle may then be verified again.
func (c cache) sawHead(db string, t tlog.Tree) bool {
	text, err := os.ReadFile(c.headsFile(db))
	return err == nil && slices.Contains(strings.Split(string(text), "\n"), headLine(t))
}

// provenHeads is how many of them a copy of the log goes on from.
const provenHeads = 32

// heads are the latest that were remembered.
func (c cache) heads(db string) []tlog.Tree {
	text, err := os.ReadFile(c.headsFile(db))
	if err != nil {
		return nil
	}
	var list []tlog.Tree
	for line := range strings.Lines(string(text)) {
		number, hash, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		h, hashErr := tlog.ParseHash(hash)
		if err == nil && hashErr == nil && n > 0 {
			list = append(list, tlog.Tree{N: n, Hash: h})
		}
	}
	return list[max(0, len(list)-provenHeads):]
}

func (c cache) rememberHead(db string, t tlog.Tree) error {
	if c.sawHead(db, t) {
		return nil
	}
	text, _ := os.ReadFile(c.headsFile(db))
	lines := append(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), headLine(t))
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" })
	lines = lines[max(0, len(lines)-maxHeads):]
	if err := os.MkdirAll(filepath.Dir(c.headsFile(db)), 0o700); err != nil {
		return err
	}
	return writeFile(c.headsFile(db), []byte(strings.Join(lines, "\n")+"\n"))
}
