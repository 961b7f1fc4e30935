package agent_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/gofleet/gofleet/"

// TestImportsGoOneWay holds the packages to the directions of the design: the
// agent stays small and knows no controller, and inventory, release and remote
// do not know each other.
func TestImportsGoOneWay(t *testing.T) {
	for _, tt := range []struct {
		of      string
		allowed []string // prefixes beside the standard library; nil: anything that is not refused
		refused []string
	}{{
		of:      "./agent/cmd/gofleet-agent",
		allowed: []string{module + "agent", "github.com/klauspost/compress/", "golang.org/x/sys/unix"},
		refused: []string{"net", "net/netip", "net/http", "crypto/tls", "archive/tar", "os/user"},
	}, {
		of:      "./agent/spec",
		allowed: []string{module + "agent/"},
		refused: []string{"net"},
	}, {
		of:      "./agent/wire",
		allowed: []string{module + "agent/"},
		refused: []string{"net"},
	}, {
		of:      "./controller/internal/inventory",
		refused: []string{module + "controller/internal/", module + "agent/internal/", "net"},
	}, {
		of:      "./controller/internal/release",
		refused: []string{module + "controller/internal/", module + "agent/internal/"},
	}, {
		of:      "./controller/internal/remote",
		refused: []string{module + "controller/internal/", module + "agent/internal/"},
	}, {
		of:      "./controller/internal/fleet",
		refused: []string{module + "controller/internal/remote", module + "controller/internal/report", "golang.org/x/crypto/ssh", "github.com/pkg/sftp"},
	}, {
		of:      "./controller/internal/report",
		refused: []string{module + "controller/internal/remote", module + "controller/internal/inventory"},
	}} {
		t.Run(tt.of, func(t *testing.T) {
			self := module + strings.TrimPrefix(tt.of, "./")
			for _, dep := range deps(t, tt.of) {
				if dep == self || strings.HasPrefix(dep, self+"/") {
					continue
				}
				for _, refused := range tt.refused {
					if dep == refused || strings.HasSuffix(refused, "/") && strings.HasPrefix(dep, refused) {
						t.Errorf("%s imports %s", tt.of, dep)
					}
				}
				if tt.allowed != nil && !standard(dep) && !hasPrefix(dep, tt.allowed) {
					t.Errorf("%s imports %s", tt.of, dep)
				}
			}
		})
	}
}

// TestAgentStaysSmall refuses what is large in an agent and has a small other
// way. Every type that slices.SortFunc sorts brings 13 functions; package sort
// is linked once. A loop over a function is a function of its own, with
// checks that nobody runs it again: 1 KB each.
func TestAgentStaysSmall(t *testing.T) {
	refused := map[*regexp.Regexp]string{
		regexp.MustCompile(`slices\.Sort(ed)?(Stable)?Func\(`):  "sort.SliceStable",
		regexp.MustCompile(`(strings|bytes)\.(Lines|\w+Seq)\(`): "Split, SplitAfter, Fields or FieldsFunc",
		regexp.MustCompile(`iter\.Seq2?\[`):                     "a slice",
	}
	files := 0
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for large, small := range refused {
			if found := large.Find(text); found != nil {
				t.Errorf("%s has %s: take %s", path, found, small)
			}
		}
		files++
		return err
	})
	if err != nil || files < 50 {
		t.Errorf("%d files were looked at: %v", files, err)
	}
}

func deps(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", pkg)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	return strings.Fields(string(out))
}

// standard tells packages of the standard library, its vendored ones among
// them, by the missing dot in the first element.
func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if s == strings.TrimSuffix(p, "/") || strings.HasPrefix(s, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}
