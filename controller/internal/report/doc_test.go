package report

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// example is a block of docs/output.md that shows a golden file: all of it,
// its first lines, or what follows from a line that begins with a word.
var example = regexp.MustCompile("(?s)<!-- (testdata/[\\w.-]+)(?: head=(\\d+))?(?: from=(\\w+))? -->\n```(\\w+)\n(.*?)```\n")

func TestOutputDocShowsRealOutput(t *testing.T) {
	path := filepath.Join(root, "docs/output.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	doc := example.ReplaceAllStringFunc(string(b), func(block string) string {
		blocks++
		m := example.FindStringSubmatch(block)
		text, err := os.ReadFile(m[1])
		if err != nil {
			t.Fatal(err)
		}
		shown := string(text)
		if m[3] != "" {
			_, rest, found := strings.Cut(shown, "\n"+m[3])
			if !found {
				t.Fatalf("no line of %s begins with %s", m[1], m[3])
			}
			shown = m[3] + rest
		}
		if head, err := strconv.Atoi(m[2]); err == nil {
			shown = strings.Join(strings.SplitAfterN(shown, "\n", head+1)[:head], "") + "…\n"
		}
		return block[:strings.Index(block, "```")] + "```" + m[4] + "\n" + shown + "```\n"
	})
	if blocks < 5 {
		t.Fatalf("%d examples in %s", blocks, path)
	}
	switch {
	case doc == string(b):
	case *update:
		if err := os.WriteFile(path, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s shows other output than the program's (go test -update corrects it)", path)
	}
}
