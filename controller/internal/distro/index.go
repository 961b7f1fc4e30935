package distro

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// Stanza is one package of an index.
type Stanza struct {
	Name, Version, Architecture string
	Filename, SHA256            string
	Size                        int64
	required                    bool // a minimal system has it
	text                        string
}

// kept are the fields that resolving needs, and those that prove the file. The
// rest of an index, such as descriptions, does not travel.
var kept = []string{
	"Package", "Source", "Version", "Architecture", "Multi-Arch", "Essential", "Priority", "Section", "Installed-Size",
	"Pre-Depends", "Depends", "Provides", "Conflicts", "Breaks", "Replaces", "Enhances",
}

const maxStanza = 1 << 20

// readIndex calls each for every stanza of an index. Fields that go over
// several lines are not looked at.
func readIndex(r io.Reader, each func(fields map[string]string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxStanza)
	fields := map[string]string{}
	flush := func() error {
		if len(fields) == 0 {
			return nil
		}
		err := each(fields)
		clear(fields)
		return err
	}
	for s.Scan() {
		line := s.Text()
		if line == "" {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			continue
		}
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	if err := s.Err(); err != nil {
		return err
	}
	return flush()
}

// stanzaOf makes a Stanza of an index's fields.
func stanzaOf(fields map[string]string) (Stanza, error) {
	p := Stanza{
		Name: fields["Package"], Version: fields["Version"], Architecture: fields["Architecture"],
		Filename: fields["Filename"], SHA256: fields["SHA256"],
	}
	if p.Name == "" || p.Version == "" || len(p.SHA256) != 64 {
		return p, fmt.Errorf("the index has an entry without name, version or sha256: %.60q", p.Name)
	}
	if _, err := fmt.Sscan(fields["Size"], &p.Size); err != nil {
		return p, fmt.Errorf("the index has no size of %s: %w", p.Name, err)
	}
	p.required = fields["Essential"] == "yes" || fields["Priority"] == "required" || p.Name == "apt"
	var b strings.Builder
	for _, name := range kept {
		if v := fields[name]; v != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	p.text = b.String()
	return p, nil
}

// File is the name of the package's file.
func (p Stanza) File() string {
	return p.Name + "_" + strings.ReplaceAll(p.Version, ":", "%3a") + "_" + p.Architecture + ".deb"
}

// Index is the package's entry in an index of the directory that its file lies
// in.
func (p Stanza) Index() string {
	return fmt.Sprintf("%sFilename: ./%s\nSize: %d\nSHA256: %s\n\n", p.text, p.File(), p.Size, p.SHA256)
}

// status is the package's entry in the state of a system that has it.
func (p Stanza) status() string { return p.text + "Status: install ok installed\n\n" }

// key is what an index knows a package by.
type key struct{ name, version string }

// readIndexes reads the index files into one.
func readIndexes(files []string) (map[key]Stanza, error) {
	all := map[key]Stanza{}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		err = readIndex(f, func(fields map[string]string) error {
			p, err := stanzaOf(fields)
			if _, twice := all[key{p.Name, p.Version}]; err == nil && !twice {
				all[key{p.Name, p.Version}] = p
			}
			return err
		})
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
	}
	return all, nil
}
