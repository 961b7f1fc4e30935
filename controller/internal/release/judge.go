package release

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"

	"github.com/gofleet/gofleet/agent/spec"
)

// subject is a file before the judges.
type subject struct {
	name Name
	file Blob
	in   *inspection
}

// reader gives the file's bytes from the start.
func (s *subject) reader() io.Reader { return io.NewSectionReader(s.file, 0, s.in.Size) }

// source is one kind of evidence. It gives Absent when it does not name the
// file, else whether it speaks for it.
type source interface {
	judge(ctx context.Context, s *subject) Finding
}

// judges are the sources of evidence in the order in which they decide.
func (o *Options) judges(c cache) []source {
	judges := []source{pinSource{o.Pins}, tableSource{o.Table}}
	if o.Bundle != nil {
		judges = append(judges, bundleSource{o.Bundle})
	}
	return append(judges, pgpSource{o.Signer, c}, proofSource{o.SumDB})
}

// decide gives the first finding that is not Absent; there is no falling
// through to another source.
func decide(ctx context.Context, judges []source, s *subject) Finding {
	for _, j := range judges {
		if f := j.judge(ctx, s); f.Status != Absent {
			return f
		}
	}
	return Finding{Status: Absent, Detail: "no evidence"}
}

type pinSource struct{ pins map[spec.Platform]string }

func (p pinSource) judge(_ context.Context, s *subject) Finding {
	key := s.name.Platform.Dashed()
	switch pin, ok := p.pins[s.name.Platform]; {
	case !ok:
		return Finding{Pin, Absent, "gofleet_sha256 does not name " + key}
	case pin == "" || pin != s.in.SHA256:
		return Finding{Pin, Bad, fmt.Sprintf("gofleet_sha256 pins %s to %q", key, pin)}
	}
	return Finding{Pin, Good, "pinned by gofleet_sha256 for " + key}
}

type tableSource struct{ table Table }

func (t tableSource) judge(_ context.Context, s *subject) Finding {
	name := s.name.String()
	switch want, ok := t.table[name]; {
	case !ok:
		return Finding{Sums, Absent, "the built-in table of official sums does not name " + name}
	case want == "":
		return Finding{Sums, Bad, "Go has published no sha256 of " + name}
	case want != s.in.SHA256:
		return Finding{Sums, Bad, fmt.Sprintf("the official %s has sha256 %s", name, want)}
	}
	return Finding{Sums, Good, "official sha256 of " + name + ", known to gofleet"}
}

// bundleSource is the signed manifest of the bundle that the archive is in.
type bundleSource struct{ bundle Carrier }

func (b bundleSource) judge(_ context.Context, s *subject) Finding {
	switch want, signer := b.bundle.Promise(s.name.String()); {
	case want == "":
		return Finding{Bundle, Absent, "nobody who is trusted has signed " + b.bundle.String()}
	case want != s.in.SHA256:
		return Finding{Bundle, Bad, fmt.Sprintf("the manifest of %s, signed by %s, gives it sha256 %s", b.bundle, signer, want)}
	default:
		return Finding{Bundle, Good, "manifest signed by " + signer}
	}
}

type pgpSource struct {
	signer Signer
	cache  cache
}

func (p pgpSource) judge(_ context.Context, s *subject) Finding {
	armored, err := s.file.Beside(".asc", maxSignature)
	if err != nil {
		return Finding{PGP, Bad, err.Error()}
	}
	if armored == nil {
		return Finding{PGP, Absent, "no signature beside it"}
	}
	sig, err := p.verify(s, armored)
	if err != nil {
		return Finding{PGP, Bad, err.Error()}
	}
	return Finding{PGP, Good, sig.String()}
}

// verify remembers good signatures by the sums of all that they depend on, so
// that the next run need not read the archive for them.
func (p pgpSource) verify(s *subject, armored []byte) (Signature, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%x\n%x\n", p.signer.Primary, sha256.Sum256(p.signer.Key), sha256.Sum256(armored))
	kept := filepath.Join(p.cache.entry(s.in.SHA256), fmt.Sprintf("pgp-%x", h.Sum(nil)[:16]))
	var sig Signature
	if p.cache.dir != "" && readSealed(kept, &sig) == nil {
		return sig, nil
	}
	sig, err := p.signer.Verify(s.reader(), armored)
	if err == nil && p.cache.dir != "" {
		if _, err := p.cache.sub("archives", s.in.SHA256); err == nil {
			_ = writeSealed(kept, sig) // only spares work
		}
	}
	return sig, err
}

type proofSource struct{ key string }

func (p proofSource) judge(_ context.Context, s *subject) Finding {
	text, err := s.file.Beside(EvidenceSuffix, maxEvidence)
	if err != nil {
		return Finding{SumDB, Bad, err.Error()}
	}
	if text == nil {
		detail := "no " + EvidenceSuffix + " beside it"
		if h1, err := s.in.moduleHash(s.name); err == nil && s.in.broken == nil && hasModule(s.name.Version) {
			detail += "; its content has " + h1 + " of " + modulePath + "@" + s.name.moduleVersion()
		}
		return Finding{SumDB, Absent, detail}
	}
	proof, err := ParseProof(text)
	if err != nil {
		return Finding{SumDB, Bad, err.Error()}
	}
	want, err := proof.Verify(p.key, s.name)
	if err != nil {
		return Finding{SumDB, Bad, err.Error()}
	}
	if s.in.broken != nil {
		return Finding{SumDB, Bad, s.in.broken.Error()}
	}
	got, err := s.in.moduleHash(s.name)
	if err != nil {
		return Finding{SumDB, Bad, err.Error()}
	}
	if got != want {
		return Finding{SumDB, Bad, fmt.Sprintf("its content has %s, the checksum database recorded %s", got, want)}
	}
	detail := fmt.Sprintf("%s of %s@%s, record %d of the checksum database", want, modulePath, s.name.moduleVersion(), proof.ID)
	if !s.name.Module {
		detail += "; api, doc, misc and test are not in the module and so not proved"
	}
	return Finding{SumDB, Good, detail}
}

// pinLine is what to write into the inventory to believe the file.
func pinLine(n Name, sha256 string) string {
	return fmt.Sprintf("gofleet_sha256: {%s: %q}", n.Platform.Dashed(), sha256)
}

// refuse turns a decision that is not Good into the error for it.
func refuse(s *subject, f Finding) *RefusedError {
	e := &RefusedError{File: s.file.Name(), SHA256: s.in.SHA256}
	if f.Status == Absent {
		e.Reason = "there is no evidence of where it comes from"
		e.Hint = "put its .asc or .evidence beside it, or, if you know that it is good, pin it: " + pinLine(s.name, s.in.SHA256)
		return e
	}
	e.Reason = fmt.Sprintf("%s, but the file has sha256 %s", f.Detail, s.in.SHA256)
	damaged := fmt.Sprintf("is damaged or is not what its name says: fetch it again, with gofleet fetch %s --platform %s", s.name.Version, s.name.Platform)
	e.Hint = "the file " + damaged
	switch f.Kind {
	case Pin:
		e.Hint = "correct the pin if it is of another version or file, else get the archive again; this file's pin would be " + pinLine(s.name, s.in.SHA256)
	case Bundle:
		e.Hint = "the bundle is damaged: gofleet bundle verify says where; carry it over again"
	case PGP, SumDB:
		e.Reason = fmt.Sprintf("evidence %s does not hold: %s", f.Kind, f.Detail)
		e.Hint = "the archive, or what lies beside it to prove it, " + damaged
	}
	return e
}
