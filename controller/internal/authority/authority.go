// Package authority reads gofleet_ca_certificates on the controller: PEM texts
// and files become one certificate each, proved to be an authority's. The
// agent, which has no X.509, takes what this gives as it is.
package authority

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
)

// maxFile bounds a file of certificates, in bytes.
const maxFile = 4 << 20

// Error is an item that cannot be used, and what to do.
type Error struct {
	Message, Hint string
}

// Error is the message; the hint is printed by the command.
func (e *Error) Error() string { return e.Message }

// Read gives the certificates of one item, a PEM text or the path of a file,
// in canonical PEM, and warnings. The error is an *Error; it never shows what
// a file holds.
func Read(item string, now time.Time) (pems, warnings []string, err error) {
	text, what := item, "the text"
	if !strings.Contains(item, "-----BEGIN") {
		what = item
		if text, err = readFile(item); err != nil {
			return nil, nil, err
		}
	}
	ders, err := spec.DecodeCertificates(text)
	if err != nil {
		return nil, nil, &Error{what + " " + err.Error(), "give the authority's certificate in PEM: openssl x509 -in FILE shows one"}
	}
	for i, der := range ders {
		which := what
		if len(ders) > 1 {
			which = fmt.Sprintf("certificate %d of %s", i+1, what)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, &Error{which + " is no certificate", "get it again: openssl x509 -noout -text has to read it"}
		}
		if !cert.BasicConstraintsValid || !cert.IsCA {
			return nil, nil, &Error{fmt.Sprintf("%s (%s) is not an authority's", which, name(cert)),
				"give the certificate of the authority that signed it; nothing else can be trusted to sign"}
		}
		pem, _ := spec.EncodeCertificate(der)
		pems = append(pems, pem)
		switch day := cert.NotAfter.UTC().Format(time.DateOnly); {
		case now.After(cert.NotAfter):
			warnings = append(warnings, fmt.Sprintf("%s (%s) expired on %s: nothing that it signed is trusted", which, name(cert), day))
		case now.Before(cert.NotBefore):
			warnings = append(warnings, fmt.Sprintf("%s (%s) is not valid before %s", which, name(cert), cert.NotBefore.UTC().Format(time.DateOnly)))
		case now.AddDate(0, 0, 30).After(cert.NotAfter):
			warnings = append(warnings, fmt.Sprintf("%s (%s) expires on %s", which, name(cert), day))
		}
	}
	return pems, warnings, nil
}

func readFile(path string) (string, error) {
	fi, err := os.Stat(path)
	var b []byte
	switch {
	case err == nil && !fi.Mode().IsRegular():
		err = errors.New("it is no regular file")
	case err == nil && fi.Size() > maxFile:
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	case err == nil:
		b, err = os.ReadFile(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("no such file")
	}
	if err != nil {
		return "", &Error{fmt.Sprintf("cannot read %s: %v", path, err), "name a file with certificates in PEM, or write the text itself"}
	}
	if bytes.HasPrefix(b, []byte{0x30}) {
		return "", &Error{path + " is DER, not PEM", "openssl x509 -inform DER -in " + path + " makes PEM of it"}
	}
	return string(b), nil
}

// name is whom a certificate is about, as one short line.
func name(cert *x509.Certificate) string {
	s := cert.Subject.CommonName
	if s == "" {
		s = cert.Subject.String()
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80]) + "…"
	}
	return s
}
