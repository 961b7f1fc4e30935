package bundle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// VerifyOptions say how a bundle is verified. The zero value of a field means
// its default.
type VerifyOptions struct {
	CacheDir string   // release's
	Quick    bool     // signature and sums only
	Older    bool     // the bundle's log may be older than one that was seen here
	Modules  []string // go.mod files for which everything must be inside
	SumDB    string   // verifier key; release.GoSumDB
	Signer   release.Signer
	Table    release.Table
	Progress release.Progress
}

// Verification is what is good and what is wrong with a bundle.
type Verification struct {
	Path     string                  `json:"bundle"`
	Good     bool                    `json:"good"`
	SignedBy string                  `json:"signed_by"` // "" if nobody who is trusted did
	Files    int                     `json:"files"`
	Size     int64                   `json:"size"` // of what was read, bytes
	Seconds  float64                 `json:"seconds"`
	Archives []*release.Verification `json:"archives"`
	Modules  ProvedModules           `json:"modules"`
	Vendored []string                `json:"vendored"` // go.mod files whose modules lie in vendor/ beside them
	Problems []Problem               `json:"problems"`
}

// Problem is one thing that is wrong.
type Problem struct {
	Layer  Layer  `json:"layer"`
	What   string `json:"what"` // path in the bundle, or name of a part
	Reason string `json:"reason"`
	Hint   string `json:"hint"`
}

// Verify proves the bundle with no network: every byte against the manifest,
// and, unless that is wrong or only the quick part is asked for, every piece
// of evidence. The error is about what keeps it from finding out.
func (b *Bundle) Verify(ctx context.Context, o VerifyOptions) (*Verification, error) {
	v := &Verification{Path: b.path, SignedBy: b.signer, Files: len(b.manifest.Files),
		Archives: []*release.Verification{}, Vendored: []string{}, Problems: []Problem{}}
	for i := range b.manifest.Files {
		v.Size += b.manifest.Files[i].storedSize()
	}
	begun := time.Now()
	err := b.Check(ctx, CheckOptions{Progress: o.Progress})
	v.Seconds = time.Since(begun).Seconds()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err == nil && !o.Quick {
		err = errors.Join(b.verifyEvidence(ctx, o, v), b.verifyModules(ctx, o, v))
	}
	for _, file := range o.Modules {
		err = errors.Join(append(b.verifyNeeds(file, v), err)...)
	}
	if err := v.note(err); err != nil {
		return nil, err
	}
	v.Good = len(v.Problems) == 0
	return v, nil
}

// Refused is the Verification of a bundle that Open refused; other errors of
// Open come back.
func Refused(path string, err error) (*Verification, error) {
	v := &Verification{Path: path, Archives: []*release.Verification{}, Vendored: []string{}, Problems: []Problem{}}
	if err := v.note(err); err != nil {
		return nil, err
	}
	return v, nil
}

// note turns joined errors about the bundle into problems, and gives back any
// other.
func (v *Verification) note(err error) error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			if err := v.note(one); err != nil {
				return err
			}
		}
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	v.Problems = append(v.Problems, Problem{e.Layer, e.What, e.Reason, e.Hint})
	return nil
}

// verifyEvidence asks every kind of evidence about every archive.
func (b *Bundle) verifyEvidence(ctx context.Context, o VerifyOptions, v *Verification) error {
	var errs []error
	for _, name := range b.Archives() {
		found, err := release.VerifyIn(ctx, b, name, release.Options{
			CacheDir: o.CacheDir, Table: o.Table, Signer: o.Signer, SumDB: o.SumDB, Progress: o.Progress,
		})
		if err != nil {
			return err
		}
		v.Archives = append(v.Archives, found)
		for _, f := range found.Evidence {
			if f.Status == release.Bad {
				errs = append(errs, &Error{Bundle: b.path, Layer: Evidence, What: ArchivesDir + "/" + name,
					Reason: string(f.Kind) + ": " + f.Detail, Hint: wrongHint})
			}
		}
		if !found.Verdict.Accepted {
			errs = append(errs, &Error{Bundle: b.path, Layer: Archive, What: ArchivesDir + "/" + name,
				Reason: found.Verdict.Reason, Hint: found.Verdict.Hint})
		}
	}
	return errors.Join(errs...)
}

// String is the Verification for people.
func (v *Verification) String() string {
	var t strings.Builder
	switch {
	case v.SignedBy != "":
		fmt.Fprintf(&t, "%s: signed by %s\n", v.Path, v.SignedBy)
	case v.Files > 0:
		fmt.Fprintf(&t, "%s: nobody who is trusted has signed it\n", v.Path)
	default:
		fmt.Fprintf(&t, "%s: refused\n", v.Path)
	}
	if v.Files > 0 {
		rate := int64(float64(v.Size) / max(v.Seconds, 0.001))
		fmt.Fprintf(&t, "  %d files, %s, read at %s/s\n", v.Files, spec.FormatSize(v.Size), spec.FormatSize(rate))
	}
	for _, a := range v.Archives {
		fmt.Fprintf(&t, "  %s\n", a.Name)
		for _, f := range a.Evidence {
			if f.Status != release.Absent {
				fmt.Fprintf(&t, "    %-7s %-5s %s\n", f.Kind, f.Status, f.Detail)
			}
		}
	}
	if m := v.Modules; m.Log > 0 {
		fmt.Fprintf(&t, "  %d modules proved by the checksum database, a log of %d records; %d private ones by the manifest alone\n", m.Public, m.Log, m.Private)
		if m.Notes != "" {
			fmt.Fprintf(&t, "    note: %s\n", m.Notes)
		}
	}
	for _, file := range v.Vendored {
		fmt.Fprintf(&t, "  %s has its modules in vendor/ and needs no module cache\n", file)
	}
	for _, p := range v.Problems {
		fmt.Fprintf(&t, "  BAD %s: %s\n      %s\n", strings.TrimSpace(string(p.Layer)+" "+p.What), p.Reason, p.Hint)
	}
	if v.Good {
		fmt.Fprintf(&t, "  good\n")
	}
	return t.String()
}

// Distinct leaves one location of each bundle in a list that may name several
// parts of one.
func Distinct(locations []string) []string {
	var list []string
	seen := map[string]bool{}
	for _, location := range locations {
		name := location
		if split := partsOf(location); split != "" {
			name = split
		}
		if !seen[name] {
			seen[name] = true
			list = append(list, location)
		}
	}
	return list
}
