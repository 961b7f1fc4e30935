package agent

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// options are what gofleet and the collection's action plugin start the agent
// with. They are read here because package flag is 20 KB of the agent.
type options struct {
	marker   string // what the agent's words stand behind
	loginUID int    // the uid that logged in
	temp     string // the fresh directory this program lies in, to be removed
	cached   bool   // started from the host's cache
}

// parseOptions reads options up to the first argument that is none, and
// returns the rest. Those with a value take it as the next argument.
func parseOptions(args []string, loginUID int) (o options, rest []string, err error) {
	o.loginUID = loginUID
	for len(args) > 0 && strings.HasPrefix(args[0], "--") {
		name := args[0]
		args = args[1:]
		if name == "--cached" {
			o.cached = true
			continue
		}
		if len(args) == 0 {
			return o, nil, fmt.Errorf("%s needs a value, or is not known", name)
		}
		switch name {
		case "--marker":
			o.marker = args[0]
		case "--temp":
			o.temp = args[0]
		case "--login-uid":
			if o.loginUID, err = strconv.Atoi(args[0]); err != nil {
				return o, nil, fmt.Errorf("--login-uid %q is not a number", args[0])
			}
		default:
			return o, nil, fmt.Errorf("%s is not known", name)
		}
		args = args[1:]
	}
	return o, args, nil
}

// unlinkSelf removes the directory that the agent was started from. That it
// can't is no reason to do nothing.
func (o options) unlinkSelf(stderr io.Writer) {
	if o.temp == "" {
		return
	}
	if err := unlinkSelf(o.temp); err != nil {
		fmt.Fprintln(stderr, "gofleet-agent:", err)
	}
}

// unlinkSelf removes dir if the running program really lies in it. The kernel
// keeps the program until it ends.
func unlinkSelf(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return fmt.Errorf("unlink this program: %w", err)
	}
	if filepath.Dir(self) != dir {
		return fmt.Errorf("unlink this program: it lies in %s, not in %s", filepath.Dir(self), dir)
	}
	return os.RemoveAll(dir)
}
