package remote

import (
	"os"
	"strings"
	"testing"
)

// TestCollectionHasTheSameShell: the collection starts agents without gofleet
// beside it, and so has shell of its own. What decides whether a cached agent
// may run, where a fresh one may lie and whether it arrived whole must be the
// same text there.
func TestCollectionHasTheSameShell(t *testing.T) {
	read := func(path string) string {
		b, err := os.ReadFile("../../../plugins/plugin_utils/" + path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	theirs := read("bootstrap.py")
	for _, part := range []struct{ name, from, to string }{
		{"who runs it", whoami[:strings.Index(whoami, "\n")+1], "\n[ -n \"$u\" ] || u=$(id -u)\n"},
		{"what others cannot replace", "closed() {\n", "\n}\n"},
		{"the cached agent", "cached() {\n", "\n}\n"},
		{"how a fresh one goes", "gone() {", "}\n"},
		{"where a fresh one may lie", "place() {\n", "\n}\n"},
		{"which places", "for x in /run ", "\ndone\n"},
		{"its sum", "if command -v sha256sum ", "; fi\n"},
	} {
		ours := agentScript
		begin := strings.Index(ours, part.from)
		if begin < 0 {
			t.Fatalf("%s: the shell line has no %q", part.name, part.from)
		}
		length := strings.Index(ours[begin:], part.to)
		if length < 0 {
			t.Fatalf("%s: no %q behind %q", part.name, part.to, part.from)
		}
		if text := ours[begin : begin+length+len(part.to)]; !strings.Contains(theirs, text) {
			t.Errorf("%s: plugins/plugin_utils/bootstrap.py has not this text of script.go:\n%s", part.name, text)
		}
	}
	programs := read("programs.py")
	for arch, names := range machines {
		if line := `    "` + arch + `": "` + names + "\",\n"; !strings.Contains(programs, line) {
			t.Errorf("plugins/plugin_utils/programs.py has not %q", line)
		}
	}
	if ours, theirs := len(machines), strings.Count(between(programs, "MACHINES = {\n", "}\n"), "\n"); ours != theirs {
		t.Errorf("plugins/plugin_utils/programs.py has %d architectures, want %d", theirs, ours)
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}
