package bundle

import (
	"encoding/json"
	"fmt"
	"path"

	"golang.org/x/mod/module"

	"github.com/gofleet/gofleet/controller/internal/release"
)

// sbom is the part of CycloneDX 1.6 that a bundle needs. It has neither a time
// nor a random number: the same content gives the same text.
type sbom struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Serial     string      `json:"serialNumber"`
	Version    int         `json:"version"`
	Metadata   sbomMeta    `json:"metadata"`
	Components []component `json:"components"`
}

type sbomMeta struct {
	Tools struct {
		Components []component `json:"components"`
	} `json:"tools"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref,omitempty"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	PURL       string     `json:"purl,omitempty"`
	Hashes     []sbomHash `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type sbomHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// newSBOM describes the files of a bundle: archives, programs, the collection,
// modules and distributions' packages.
func newSBOM(madeBy string, files []File) []byte {
	s := sbom{Format: "CycloneDX", Spec: "1.6", Version: 1, Components: []component{}}
	s.Metadata.Tools.Components = []component{{Type: "application", Name: "gofleet", Version: madeBy}}
	s.Metadata.Component = component{Type: "data", Name: "gofleet bundle"}
	for _, f := range files {
		c, ok := componentOf(f, madeBy)
		if !ok {
			continue
		}
		c.Ref = f.Path
		c.Hashes = []sbomHash{{"SHA-256", f.SHA256}}
		c.Properties = []property{{"gofleet:path", f.Path}}
		s.Components = append(s.Components, c)
	}
	id := sumOf((&Manifest{MadeBy: madeBy, Files: files}).Encode())
	// A UUID of version 8: its other bits are free.
	s.Serial = fmt.Sprintf("urn:uuid:%s-%s-8%s-a%s-%s", id[:8], id[8:12], id[13:16], id[17:20], id[20:32])
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("bundle: sbom: " + err.Error()) // plain structs
	}
	return append(text, '\n')
}

// componentOf says what software a file is, if it is any.
func componentOf(f File, madeBy string) (component, bool) {
	dir, base := path.Split(f.Path)
	switch dir {
	case ArchivesDir + "/":
		n, err := release.ParseName(base)
		if err != nil {
			return component{}, false
		}
		return component{Type: "application", Name: "go", Version: n.Version,
			PURL: fmt.Sprintf("pkg:generic/go@%s?arch=%s&os=%s", n.Version, n.Platform.Arch, n.Platform.OS)}, true
	case ProgramsDir + "/", AgentsDir + "/":
		return component{Type: "application", Name: base, Version: madeBy}, true
	case CollectionDir + "/":
		return component{Type: "library", Name: base}, true
	}
	if p, ok := packageOf(f); ok {
		return component{Type: "library", Name: p.Name, Version: p.Version, PURL: p.purl()}, true
	}
	mod, v, ok := zipOf(f.Path)
	if !ok {
		return component{}, false
	}
	return component{Type: "library", Name: mod, Version: v, PURL: "pkg:golang/" + mod + "@" + v}, true
}

// zipOf says which module's content the file with that path is.
func zipOf(p string) (mod, v string, ok bool) {
	m, ok := versionOf(p)
	return m.Path, m.Version, ok && path.Ext(p) == ".zip"
}

// hasRecord tells whether the checksum database's record of a module is there.
func (b *Bundle) hasRecord(mod, v string) bool {
	m, err1 := module.EscapePath(mod)
	ver, err2 := module.EscapeVersion(v)
	if err1 != nil || err2 != nil {
		return false
	}
	_, err := b.Stat(sumdbDir + "/sum.golang.org/lookup/" + m + "@" + ver)
	return err == nil
}
