package bundle

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vendorProject makes a project that stock go has vendored.
func vendorProject(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"lib/go.mod":     "module corp.example/lib\n\ngo 1.21\n",
		"lib/lib.go":     "package lib\n",
		"lib/sub/sub.go": "package sub\n",
		"app/go.mod": "module corp.example/app\n\ngo 1.21\n\nrequire corp.example/lib v1.0.0\n\n" +
			"replace corp.example/lib v1.0.0 => ../lib\n",
		"app/main.go": "package main\n\nimport (\n\t_ \"corp.example/lib\"\n\t_ \"corp.example/lib/sub\"\n)\n\nfunc main() {}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	app := filepath.Join(dir, "app")
	if out, err := goIn(app, "mod", "vendor"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return app
}

func goIn(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local")
	return cmd.CombinedOutput()
}

// TestVendored: what is called whole, stock go lists packages of, and what is
// refused, it refuses.
func TestVendored(t *testing.T) {
	replace := func(name, old, with string) func(app string) error {
		return func(app string) error {
			path := filepath.Join(app, name)
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, []byte(strings.Replace(string(b), old, with, 1)), 0o644)
		}
	}
	for name, c := range map[string]struct {
		alter func(app string) error
		err   string
	}{
		"as go makes it":       {},
		"another version":      {replace("go.mod", "lib v1.0.0\n\nreplace corp.example/lib v1.0.0", "lib v1.1.0\n\nreplace corp.example/lib v1.1.0"), "is required, and not in vendor/"},
		"not required":         {replace("go.mod", "require corp.example/lib v1.0.0\n", ""), "is in vendor/, and not required"},
		"replaced by another":  {replace("go.mod", "=> ../lib", "=> ../other"), "is replaced by"},
		"not replaced":         {replace("go.mod", "replace corp.example/lib v1.0.0 => ../lib", ""), "is replaced by"},
		"a package is missing": {func(app string) error { return os.RemoveAll(filepath.Join(app, "vendor/corp.example/lib/sub")) }, "has no package corp.example/lib/sub"},
	} {
		app := vendorProject(t)
		if c.alter != nil {
			if err := c.alter(app); err != nil {
				t.Fatal(err)
			}
		}
		here, err := vendoredFile(filepath.Join(app, "go.mod"))
		out, goErr := goIn(app, "list", "-deps", "./...")
		if here != (c.err == "") || here != (goErr == nil) || err == nil && c.err != "" || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, %v; go says %v\n%s", name, here, err, goErr, out)
		}
	}
	app := vendorProject(t)
	if err := os.RemoveAll(filepath.Join(app, "vendor")); err != nil {
		t.Fatal(err)
	}
	if here, err := vendoredFile(filepath.Join(app, "go.mod")); here || err != nil {
		t.Errorf("without vendor/: %v, %v", here, err)
	}
}
