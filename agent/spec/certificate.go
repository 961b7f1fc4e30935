package spec

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

const (
	pemBegin = "-----BEGIN CERTIFICATE-----"
	pemEnd   = "-----END CERTIFICATE-----"
	pemWidth = 64

	maxCertificates = 100
	maxCertificate  = 64 << 10 // bytes of DER
)

// caCertificates reads gofleet_ca_certificates: PEM texts and paths of files.
// What is in them is for who reads the files to judge.
func (n *node) caCertificates() []string {
	const example = "write a list of PEM texts or of files with some, like [../ca/root.pem]"
	list, ok := n.v.([]any)
	if s, text := n.v.(string); text && n.p.o.Lenient && strings.Contains(s, pemBegin) {
		list, ok = []any{s}, true
	} else if text && n.p.o.Lenient {
		items, _ := n.list(example)
		list, ok = nil, true
		for _, item := range items {
			list = append(list, item.v)
		}
	}
	if !ok {
		n.fail(example, "must be a list, not %s", kind(n.v))
		return nil
	}
	var out []string
	for i, v := range list {
		c := n.child(itoa(i), v)
		s, isText := v.(string)
		s = strings.TrimSpace(s)
		switch {
		case !isText:
			c.fail(example, "must be text, not %s", kind(v))
		case s == "":
			c.fail(example, "is empty")
		case strings.Contains(s, "PRIVATE KEY-----"):
			c.fail("put in the certificate instead, and replace that key: it is in an inventory now", "holds a private key")
		case !strings.Contains(s, "-----BEGIN") && !c.printable(s):
		case len(s) > maxCertificates*maxCertificate:
			c.fail(example, "is longer than any certificates")
		default:
			out = append(out, s)
		}
	}
	return out
}

// EncodeCertificate is the canonical PEM of a certificate in DER, and the
// fingerprint that it is known by: its sha256 in hex.
func EncodeCertificate(der []byte) (pem, fingerprint string) {
	var b strings.Builder
	b.WriteString(pemBegin + "\n")
	text := base64.StdEncoding.EncodeToString(der)
	for len(text) > pemWidth {
		b.WriteString(text[:pemWidth] + "\n")
		text = text[pemWidth:]
	}
	b.WriteString(text + "\n" + pemEnd + "\n")
	sum := sha256.Sum256(der)
	return b.String(), hex.EncodeToString(sum[:])
}

// DecodeCertificates gives the DER of every certificate in a PEM text. Text
// between them, as openssl writes it, is passed over; anything else in PEM is
// an error. Whether the DER is a certificate is not looked at.
func DecodeCertificates(text string) ([][]byte, error) {
	var all [][]byte
	var body strings.Builder
	inside := false
	for _, line := range strings.SplitAfter(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == pemBegin && !inside:
			inside = true
			body.Reset()
		case line == pemEnd && inside:
			inside = false
			der, err := base64.StdEncoding.Strict().DecodeString(body.String())
			if err != nil || len(der) == 0 || len(der) > maxCertificate {
				return nil, errors.New("has a certificate whose base64 is cut or altered")
			}
			all = append(all, der)
		case strings.HasPrefix(line, "-----"):
			if strings.Contains(line, "PRIVATE KEY") {
				return nil, errors.New("holds a private key")
			}
			return nil, errors.New("holds something else than certificates")
		case inside:
			body.WriteString(line)
		}
	}
	switch {
	case inside:
		return nil, errors.New("has a certificate without an end")
	case len(all) == 0:
		return nil, errors.New("holds no certificate in PEM")
	case len(all) > maxCertificates:
		return nil, errors.New("holds more certificates than an organisation has authorities")
	}
	return all, nil
}
