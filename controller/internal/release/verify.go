package release

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
)

// Verification is everything there is to say for and against one archive.
type Verification struct {
	File     string        `json:"file"`
	SHA256   string        `json:"sha256"`
	Name     string        `json:"name"`
	Version  string        `json:"version"`
	Platform spec.Platform `json:"platform"`
	Module   bool          `json:"module"` // made from the toolchain module, not the official file
	Evidence []Finding     `json:"evidence"`
	Content  Finding       `json:"content"` // whether the content fits the name; its kind is "content"
	Tree     string        `json:"tree"`    // sha256 of the tree manifest; "" if the content cannot be read
	Verdict  Verdict       `json:"verdict"`
}

// Verdict is what apply would do with the archive.
type Verdict struct {
	Accepted bool   `json:"accepted"`
	By       Kind   `json:"by,omitempty"` // the evidence that decides
	Reason   string `json:"reason"`
	Hint     string `json:"hint,omitempty"`
}

// contentKind is the Kind of what is said about the content.
const contentKind Kind = "content"

// Verify asks every kind of evidence about one archive, also those that would
// not decide, with no network. The error is about a file that cannot be read
// or whose name is not an archive's; what is wrong with the archive itself is
// in the Verification. Location and URL options play no part.
func Verify(ctx context.Context, file string, o Options) (*Verification, error) {
	name, err := ParseName(filepath.Base(file))
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	o.Location = filepath.Dir(abs)
	s, err := NewStore(o)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	defer s.Close()
	f, err := openBlob(abs)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	defer f.Close()
	return s.verification(ctx, f, name, file)
}

// VerifyIn is Verify for an archive in a bundle.
func VerifyIn(ctx context.Context, bundle Carrier, archive string, o Options) (*Verification, error) {
	name, err := ParseName(archive)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	o.Bundle = bundle
	s, err := NewStore(o)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	defer s.Close()
	f, err := bundle.Archive(archive)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	defer f.Close()
	return s.verification(ctx, f, name, f.Name())
}

// verification asks everybody about an open archive that is shown as file.
func (s *Store) verification(ctx context.Context, f Blob, name Name, file string) (*Verification, error) {
	in, form, err := s.inspect(ctx, f, name)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	form.discard()
	v := &Verification{
		File: file, SHA256: in.SHA256, Name: name.String(),
		Version: name.Version, Platform: name.Platform, Module: name.Module, Tree: in.Tree.SHA256,
		Content: judgeContent(in, name),
	}
	sub := &subject{name: name, file: f, in: in}
	for _, j := range s.options.judges(s.cache) {
		v.Evidence = append(v.Evidence, j.judge(ctx, sub))
	}
	v.Verdict = verdict(sub, first(v.Evidence), v.Content)
	return v, nil
}

// first is the finding that decides, as decide gives it.
func first(findings []Finding) Finding {
	for _, f := range findings {
		if f.Status != Absent {
			return f
		}
	}
	return Finding{Status: Absent}
}

func judgeContent(in *inspection, n Name) Finding {
	if in.broken != nil {
		return Finding{contentKind, Bad, in.broken.Error()}
	}
	if err := in.Content.check(n); err != nil {
		return Finding{contentKind, Bad, err.Error()}
	}
	return Finding{contentKind, Good, fmt.Sprintf("go%s for %s: %d files, %d directories, %d bytes",
		n.Version, n.Platform, in.Tree.Files, in.Tree.Dirs, in.Tree.Bytes)}
}

func verdict(s *subject, f Finding, content Finding) Verdict {
	switch {
	case f.Status == Bad, f.Status == Absent && content.Status == Good:
		e := refuse(s, f)
		return Verdict{By: f.Kind, Reason: e.Reason, Hint: e.Hint}
	case content.Status != Good:
		return Verdict{By: contentKind, Reason: content.Detail, Hint: wrongContentHint}
	}
	return Verdict{Accepted: true, By: f.Kind, Reason: f.Detail}
}

// String is the Verification for people, some lines.
func (v *Verification) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", v.File)
	line := func(what, text string) { fmt.Fprintf(&b, "  %-9s %s\n", what, text) }
	line("sha256", v.SHA256)
	what := "the official archive"
	if v.Module {
		what = "made from the toolchain module"
	}
	line("release", fmt.Sprintf("go%s for %s, %s", v.Version, v.Platform, what))
	for _, f := range v.Evidence {
		line(string(f.Kind), fmt.Sprintf("%-7s %s", f.Status, f.Detail))
	}
	line(string(contentKind), fmt.Sprintf("%-7s %s", v.Content.Status, v.Content.Detail))
	if v.Verdict.Accepted {
		line("verdict", "accepted, by "+string(v.Verdict.By))
	} else {
		line("verdict", "refused: "+v.Verdict.Reason)
		line("", v.Verdict.Hint)
	}
	return b.String()
}
