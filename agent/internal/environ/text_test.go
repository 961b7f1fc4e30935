package environ

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/record"
)

// The shipped go.env comes back to the byte, whatever it is and whatever is set.
func FuzzShippedText(f *testing.F) {
	f.Add("GOPROXY=a\n# x\nGOSUMDB=b", "GOPROXY", "off")
	f.Add("", "GOFLAGS", "")
	f.Add("\n\nGOTOOLCHAIN=auto\r\n", "GOTOOLCHAIN", "local")
	f.Add("=x\nA\n", "A", "=")
	f.Fuzz(func(t *testing.T, shipped, name, value string) {
		if strings.ContainsAny(value, "\n\r\x00") || !isName(name) || strings.Contains(shipped, marker) || strings.Contains(shipped, shippedPrefix) {
			return
		}
		text := goEnvText(shipped, map[string]string{name: value})
		got, sure := shippedText(text)
		if got != shipped || !sure {
			t.Fatalf("%q comes back as %q, sure %v", shipped, got, sure)
		}
		if n := strings.Count("\n"+text, "\n"+name+"="); n != 1 {
			t.Errorf("%s stands %d times in %q", name, n, text)
		}
	})
}

// Setting variables and taking them away again leaves what a user had, up to
// the order of the lines that were ours and the last newline.
func FuzzMergeUserEnv(f *testing.F) {
	f.Add("# c\nGOPROXY=direct\nCC=x", "off")
	f.Add("GOPROXY=a\nGOPROXY=b\n", "a")
	f.Add("GOPROXY=off\r\njunk", "off")
	f.Fuzz(func(t *testing.T, content, value string) {
		if strings.ContainsAny(value, "\n\r\x00") || strings.Contains(content, "\r") {
			return
		}
		want := map[string]string{"GOPROXY": value, "GOFLAGS": "-x"}
		once := mergeUserEnv(content, nil, want)
		noted := &record.UserEnv{Set: once.set, Before: once.before}
		twice := mergeUserEnv(once.content, noted, want)
		if twice.content != once.content || twice.drift || !maps.Equal(twice.set, once.set) || !maps.Equal(twice.before, once.before) {
			t.Fatalf("not idempotent: %q then %q", once.content, twice.content)
		}
		values := effective(once.content)
		if values["GOPROXY"] != value || values["GOFLAGS"] != "-x" {
			t.Errorf("%q does not set them", once.content)
		}
		back := mergeUserEnv(once.content, noted, nil)
		if !maps.Equal(effective(back.content), effective(content)) {
			t.Errorf("%q comes back as %q", content, back.content)
		}
	})
}

// A crash may leave two names of one file; renaming one to the other does
// nothing then.
func TestBringBackTwoNames(t *testing.T) {
	dir := t.TempDir()
	path, kept := filepath.Join(dir, "go"), filepath.Join(dir, "go.unmanaged")
	if err := errors.Join(os.WriteFile(path, []byte("x"), 0o755), os.Link(path, kept)); err != nil {
		t.Fatal(err)
	}
	if err := bringBack(kept, path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(kept); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the second name is still there: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "x" {
		t.Errorf("the file: %q %v", b, err)
	}
}

// effective is how the go command reads a go/env.
func effective(content string) map[string]string {
	m := map[string]string{}
	for _, line := range strings.Split(content, "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			m[name] = value
		}
	}
	return m
}
