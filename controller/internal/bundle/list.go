package bundle

import (
	"fmt"
	"path"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// List is what a bundle says that it holds.
type List struct {
	Path     string          `json:"bundle"`
	MadeBy   string          `json:"made_by"`   // version of gofleet
	SignedBy string          `json:"signed_by"` // the key that the signature names; "" if there is none
	Trusted  bool            `json:"trusted"`   // the signature is good, and by somebody who is trusted
	Size     int64           `json:"size"`      // of all files, bytes
	Archives []ListedArchive `json:"archives"`
	Programs []File          `json:"programs"` // gofleet, agents, the collection
	Modules  []ListedModule  `json:"modules"`
	Packages []ListedPackage `json:"packages"` // of distributions
	Files    []File          `json:"files"`    // everything
}

// ListedArchive is a Go archive, and the evidence that travels with it.
type ListedArchive struct {
	Name     string         `json:"name"`
	Version  string         `json:"version"`
	Platform spec.Platform  `json:"platform"`
	Size     int64          `json:"size"`
	SHA256   string         `json:"sha256"`
	Evidence []release.Kind `json:"evidence"` // unproved until verify
}

// ListedModule is a module whose content is there.
type ListedModule struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Size    int64  `json:"size"`   // of the zip
	Public  bool   `json:"public"` // the checksum database's record of it is there
}

// List describes what is in the bundle.
func (b *Bundle) List() *List {
	l := &List{Path: b.path, MadeBy: b.MadeBy(), Trusted: b.signer != "", Files: b.Files(),
		Archives: []ListedArchive{}, Programs: []File{}, Modules: []ListedModule{}, Packages: []ListedPackage{}}
	if id, ok := b.SignedBy(); ok {
		l.SignedBy = id.String()
	}
	for _, f := range l.Files {
		l.Size += f.Size
		dir, base := path.Split(f.Path)
		switch dir {
		case ArchivesDir + "/":
			if n, err := release.ParseName(base); err == nil {
				l.Archives = append(l.Archives, ListedArchive{base, n.Version, n.Platform, f.Size, f.SHA256, b.evidence(f)})
			}
		case ProgramsDir + "/", AgentsDir + "/", CollectionDir + "/":
			l.Programs = append(l.Programs, f)
		default:
			if p, ok := packageOf(f); ok {
				l.Packages = append(l.Packages, p)
			} else if mod, v, ok := zipOf(f.Path); ok {
				l.Modules = append(l.Modules, ListedModule{mod, v, f.Size, b.hasRecord(mod, v)})
			}
		}
	}
	return l
}

// evidence is what there is for an archive, as far as can be told from names.
func (b *Bundle) evidence(f File) []release.Kind {
	kinds := []release.Kind{}
	if _, ok := release.BuiltinTable()[path.Base(f.Path)]; ok {
		kinds = append(kinds, release.Sums) // Open has compared it
	}
	if b.signer != "" {
		kinds = append(kinds, release.Bundle)
	}
	if _, ok := b.index[f.Path+".asc"]; ok {
		kinds = append(kinds, release.PGP)
	}
	if _, ok := b.index[f.Path+release.EvidenceSuffix]; ok {
		kinds = append(kinds, release.SumDB)
	}
	return kinds
}

// String is the list for people.
func (l *List) String() string {
	var t strings.Builder
	signed := "not signed"
	if l.SignedBy != "" {
		signed = "signed by " + l.SignedBy
		if !l.Trusted {
			signed += ", which is not trusted here"
		}
	}
	fmt.Fprintf(&t, "%s: %d files, %s, made by gofleet %s, %s\n", l.Path, len(l.Files), spec.FormatSize(l.Size), l.MadeBy, signed)
	for _, a := range l.Archives {
		var kinds []string
		for _, k := range a.Evidence {
			kinds = append(kinds, string(k))
		}
		fmt.Fprintf(&t, "  %-44s %9s  %s\n", a.Name, spec.FormatSize(a.Size), strings.Join(kinds, ", "))
	}
	for _, f := range l.Programs {
		fmt.Fprintf(&t, "  %-44s %9s\n", f.Path, spec.FormatSize(f.Size))
	}
	if len(l.Modules) > 0 {
		var size int64
		public := 0
		for _, m := range l.Modules {
			size += m.Size
			if m.Public {
				public++
			}
		}
		what := fmt.Sprintf("%d modules, %d of them public", len(l.Modules), public)
		fmt.Fprintf(&t, "  %-44s %9s\n", what, spec.FormatSize(size))
		for _, m := range l.Modules {
			fmt.Fprintf(&t, "    %-42s %9s\n", m.Path+" "+m.Version, spec.FormatSize(m.Size))
		}
	}
	l.packages(&t)
	return t.String()
}

// packages lists them by distribution and architecture, as they lie.
func (l *List) packages(t *strings.Builder) {
	for i := 0; i < len(l.Packages); {
		first, n, size := l.Packages[i], 0, int64(0)
		for _, p := range l.Packages[i:] {
			if p.Distribution != first.Distribution || p.dir != first.dir {
				break
			}
			n++
			size += p.Size
		}
		fmt.Fprintf(t, "  %-44s %9s\n", fmt.Sprintf("%d packages of %s/%s", n, first.Distribution, first.dir), spec.FormatSize(size))
		for _, p := range l.Packages[i : i+n] {
			fmt.Fprintf(t, "    %-42s %9s\n", p.Name+" "+p.Version, spec.FormatSize(p.Size))
		}
		i += n
	}
}
