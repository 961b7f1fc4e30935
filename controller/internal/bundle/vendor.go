package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// vendored tells whether a project has its modules in vendor/, so that go
// builds it from there and needs no module cache. A vendor/ that go would
// refuse, because it is not what go.mod says, or of which a part is missing, is
// an error.
func vendored(file string, mod *modfile.File) (bool, error) {
	dir := filepath.Join(filepath.Dir(file), "vendor")
	text, err := os.ReadFile(filepath.Join(dir, "modules.txt"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if mod.Go == nil || semver.Compare("v"+mod.Go.Version, "v1.14") < 0 {
		return false, nil // go builds from it only when it is told to
	}
	list := readVendorList(string(text))
	wrong := func(format string, args ...any) (bool, error) {
		return false, fmt.Errorf("%s and vendor/modules.txt do not agree: %s", file, fmt.Sprintf(format, args...))
	}
	required := map[module.Version]bool{}
	for _, r := range mod.Require {
		required[r.Mod] = true
		if !list.explicit[r.Mod] {
			return wrong("%s is required, and not in vendor/", r.Mod)
		}
	}
	for m := range list.explicit {
		if !required[m] {
			return wrong("%s is in vendor/, and not required", m)
		}
	}
	for m := range list.explicit {
		if want, got := replacement(mod, m), list.replaced[m]; want != got {
			return wrong("%s is replaced by %q in one, by %q in the other", m, got, want)
		}
	}
	for _, pkg := range list.packages {
		if st, err := os.Stat(filepath.Join(dir, filepath.FromSlash(pkg))); err != nil || !st.IsDir() {
			return false, fmt.Errorf("%s has no package %s, which its modules.txt names", dir, pkg)
		}
	}
	return true, nil
}

// vendorList is what vendor/modules.txt says.
type vendorList struct {
	explicit map[module.Version]bool // what go.mod requires
	replaced map[module.Version]string
	packages []string
}

func readVendorList(text string) vendorList {
	l := vendorList{map[module.Version]bool{}, map[module.Version]string{}, nil}
	var now module.Version
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if marks, ok := strings.CutPrefix(line, "## "); ok {
			first, _, _ := strings.Cut(marks, ";")
			if strings.TrimSpace(first) == "explicit" {
				l.explicit[now] = true
			}
			continue
		}
		if named, ok := strings.CutPrefix(line, "# "); ok {
			before, after, _ := strings.Cut(named, "=>")
			f := strings.Fields(before)
			now = module.Version{}
			if len(f) == 2 { // with one, a replacement that nothing uses
				now = module.Version{Path: f[0], Version: f[1]}
				l.replaced[now] = strings.Join(strings.Fields(after), " ")
			}
			continue
		}
		if line != "" && module.CheckImportPath(line) == nil {
			l.packages = append(l.packages, line)
		}
	}
	return l
}

// replacement is what go.mod replaces a module by, as modules.txt writes it.
func replacement(mod *modfile.File, m module.Version) string {
	for _, r := range mod.Replace {
		if r.Old.Path == m.Path && (r.Old.Version == "" || r.Old.Version == m.Version) {
			return strings.TrimSpace(r.New.Path + " " + r.New.Version)
		}
	}
	return ""
}
