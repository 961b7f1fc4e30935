package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func certificate(t *testing.T, cn string, ca bool, end time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: end.AddDate(-1, 0, 0), NotAfter: end,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestRead(t *testing.T) {
	now := time.Now()
	root, old := certificate(t, "Corp Root", true, now.AddDate(0, 6, 0)), certificate(t, "Old\nRoot", true, now.AddDate(0, 0, -1))
	file := filepath.Join(t.TempDir(), "ca.pem")
	// As openssl x509 -text writes it, two in one file, lines ended as on Windows.
	text := "Certificate:\r\n  Data\r\n" + strings.ReplaceAll(encode("CERTIFICATE", root), "\n", "\r\n") + encode("CERTIFICATE", old)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	pems, warnings, err := Read(file, now)
	if err != nil || len(pems) != 2 || pems[0] != encode("CERTIFICATE", root) || pems[1] != encode("CERTIFICATE", old) {
		t.Fatalf("got %q, %v", pems, err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "(OldRoot) expired on") {
		t.Errorf("warnings %q", warnings)
	}
	der := filepath.Join(t.TempDir(), "ca.der")
	if err := os.WriteFile(der, root, 0o644); err != nil {
		t.Fatal(err)
	}
	for item, want := range map[string]string{
		encode("CERTIFICATE", certificate(t, "web", false, now.AddDate(1, 0, 0))): "(web) is not an authority's",
		encode("CERTIFICATE", root[:len(root)-2]):                                 "is no certificate",
		encode("EC PRIVATE KEY", []byte("secret")):                                "holds a private key",
		encode("CERTIFICATE REQUEST", []byte("x")):                                "something else than certificates",
		encode("CERTIFICATE", root)[:100]:                                         "without an end",
		"/nonexistent/ca.pem":                                                     "no such file",
		filepath.Dir(file):                                                        "no regular file",
		der:                                                                       "is DER",
	} {
		pems, _, err := Read(item, now)
		if err == nil || !strings.Contains(err.Error(), want) || pems != nil || err.(*Error).Hint == "" {
			t.Errorf("want %q, got %v, %v", want, pems, err)
		}
	}
}
