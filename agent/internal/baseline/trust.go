package baseline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// store is where one family of distributions takes authorities from, and the
// tool that makes what programs read of it.
type store struct {
	anchors string // directory of certificates that an administrator adds
	family  string // what only this family has; the first that is there decides
	tool    string
	bundle  string // what the tool makes, all certificates in one PEM file
}

var stores = []store{
	{"/etc/pki/ca-trust/source/anchors", "/etc/pki/ca-trust/source", "update-ca-trust", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"},
	{"/etc/pki/trust/anchors", "/etc/pki/trust", "update-ca-certificates", "/var/lib/ca-certificates/ca-bundle.pem"},
	{"/etc/ca-certificates/trust-source/anchors", "/etc/ca-certificates/trust-source", "update-ca-trust", "/etc/ca-certificates/extracted/tls-ca-bundle.pem"},
	{"/usr/local/share/ca-certificates", "/usr/share/ca-certificates", "update-ca-certificates", "/etc/ssl/certs/ca-certificates.crt"},
}

// certificatePrefix begins the names of our files; the rest is of the
// certificate's sha256, so that a renewed one is another file.
const certificatePrefix, certificateSuffix = "gofleet-", ".crt"

// maxBundle bounds what is read of a bundle, in bytes: they have 200 KB.
const maxBundle = 16 << 20

// trust plans the authorities in the system's store: a file each, and one run
// of the host's tool.
func trust(_ context.Context, p *planner) error {
	ours := ourCertificates(p.rec)
	if len(p.want.CACertificates) == 0 && len(ours) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return wire.NewError(wire.KindNeedsRoot, errors.New("the system's store of certificates needs root"),
			"run with -b, or drop gofleet_ca_certificates and name a file in SSL_CERT_FILE")
	}
	st, err := findStore()
	if err != nil {
		return err
	}
	before := len(p.steps)
	stale, err := p.certificates(st, ours)
	if err != nil {
		return err
	}
	changed := p.steps[before:]
	if len(changed) == 0 && stale == "" {
		return nil
	}
	if len(changed) > 0 {
		// Undone last: only then is the store what it was.
		undo := changed[0].Undo
		changed[0].Undo = func() error { return errors.Join(undo(), st.update(context.Background())) }
	}
	p.steps = append(p.steps, change.Step{
		Name: "run " + st.tool, Path: st.bundle, Drift: stale == drifted, Diff: "the system's certificates are gathered anew\n", Do: st.update,
	})
	return nil
}

// How a bundle can be behind its anchors.
const (
	behind  = "behind"  // a run was cut between the two
	drifted = "drifted" // somebody took ours out
)

// certificates plans the files, and says whether the bundle is stale without
// any change to them.
func (p *planner) certificates(st store, ours []string) (stale string, err error) {
	bundle, made, err := readBundle(st.bundle)
	if err != nil {
		return "", err
	}
	wanted := map[string]bool{}
	for i, text := range p.want.CACertificates {
		ders, err := spec.DecodeCertificates(text)
		if err != nil || len(ders) != 1 {
			return "", refused(fmt.Errorf("item %d is not one certificate in PEM", i+1), "write the text of a certificate")
		}
		pem, sum := spec.EncodeCertificate(ders[0])
		path := filepath.Join(st.anchors, certificatePrefix+sum[:16]+certificateSuffix)
		if wanted[path] {
			continue
		}
		wanted[path] = true
		_, noted := p.rec.Files[path]
		steps, err := hostfile.Managed{Path: path, Content: []byte(pem), Mode: 0o644, Kind: wire.KindBaseline}.Plan(p.rec)
		if err != nil {
			return "", err
		}
		p.steps = append(p.steps, steps...)
		if made && len(steps) == 0 && !strings.Contains(bundle, body(pem)) {
			stale = behind
			if noted {
				stale = drifted
			}
		}
	}
	for _, path := range ours {
		if wanted[path] {
			continue
		}
		steps, err := hostfile.PlanRemove(path, p.rec, wire.KindBaseline)
		if err != nil {
			return "", err
		}
		if len(steps) == 0 && stale == "" {
			stale = behind // somebody removed the file; what the tool made of it may still be there
		}
		p.steps = append(p.steps, steps...)
	}
	return stale, nil
}

// body is a certificate without its first and last line: as tools copy it.
func body(pem string) string {
	_, rest, _ := strings.Cut(pem, "\n")
	return rest[:strings.LastIndex(rest, "-----END")]
}

// readBundle reads what the tool has made, if it has.
func readBundle(path string) (text string, made bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBundle))
	return string(b), true, err
}

// ourCertificates are the files that earlier runs put into any store.
func ourCertificates(rec *record.Record) []string {
	var ours []string
	for _, path := range slices.Sorted(maps.Keys(rec.Files)) {
		base := filepath.Base(path)
		if strings.HasPrefix(base, certificatePrefix) && strings.HasSuffix(base, certificateSuffix) {
			ours = append(ours, path)
		}
	}
	return ours
}

// findStore finds the host's store and its tool.
func findStore() (store, error) {
	for _, st := range stores {
		if fi, err := os.Stat(st.family); err != nil || !fi.IsDir() {
			continue
		}
		if hostcmd.Find(st.tool) == "" {
			return st, refused(fmt.Errorf("this host has %s and no %s", st.family, st.tool),
				"install the package ca-certificates, or drop gofleet_ca_certificates")
		}
		return st, nil
	}
	return store{}, refused(errors.New("this host has no store of certificates that gofleet knows"),
		"install the package ca-certificates, or drop gofleet_ca_certificates and name a file in SSL_CERT_FILE")
}

// sweepStores removes temporary files that a run which was cut left.
func sweepStores() error {
	var errs []error
	for _, st := range stores {
		errs = append(errs, durable.Sweep(st.anchors))
	}
	return errors.Join(errs...)
}

func (st store) update(ctx context.Context) error {
	_, err := hostcmd.Run(ctx, "", hostcmd.Find(st.tool))
	return err
}
