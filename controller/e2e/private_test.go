//go:build linux

package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Who may fetch modules from the server of cmdCorp.
const (
	corpLogin    = "ci"
	corpPassword = "t0ken-0f-the-site"
	corpModule   = "corp.example/lib"
)

// cmdCorp starts a server beside the lab, as a site has it: over HTTPS with a
// certificate that an authority of its own signed, and over plain HTTP. It is
// a GOPROXY with one private module, behind basic authentication; below
// /refused, /broken and /silent it refuses with 403, fails with 503 or never
// answers. $CORP and $PLAIN are its URLs, $CORPHOST and $PLAINHOST their hosts,
// and ca.pem has the authority.
func cmdCorp(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if neg || len(args) != 0 || s.lab == nil {
		usage(ts, "corp, behind lab")
	}
	addr, err := netip.ParseAddr(s.lab.Hosts[0].Addr)
	ts.Check(err)
	gateway := netip.PrefixFrom(addr, 22).Masked().Addr().Next()
	ts.Setenv("CORPNAME", gateway.String())
	authority, cert, err := corpCertificates(gateway)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), authority, 0o644))
	module, err := corpZip()
	ts.Check(err)
	released := make(chan struct{})
	handler := corpHandler(module, released)
	quiet := log.New(io.Discard, "", 0)
	for name, config := range map[string]*tls.Config{"CORP": {Certificates: []tls.Certificate{cert}}, "PLAIN": nil} {
		l, err := net.Listen("tcp", netip.AddrPortFrom(gateway, 0).String())
		ts.Check(err)
		scheme := "http://"
		ts.Setenv(name+"HOST", l.Addr().String())
		if config != nil {
			l, scheme = tls.NewListener(l, config), "https://"
		}
		ts.Setenv(name, scheme+l.Addr().String())
		server := &http.Server{Handler: handler, ErrorLog: quiet}
		go server.Serve(l)
		ts.Defer(func() { server.Close() })
	}
	ts.Defer(func() { close(released) })
}

func corpHandler(module []byte, released <-chan struct{}) http.Handler {
	dir := "/" + corpModule + "/@v/"
	files := map[string][]byte{
		dir + "list":        []byte("v1.0.0\n"),
		dir + "v1.0.0.info": []byte(`{"Version":"v1.0.0","Time":"2026-01-02T03:04:05Z"}`),
		dir + "v1.0.0.mod":  []byte("module " + corpModule + "\n\ngo 1.21\n"),
		dir + "v1.0.0.zip":  module,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		login, password, _ := r.BasicAuth()
		switch {
		case login != corpLogin || password != corpPassword:
			w.Header().Set("WWW-Authenticate", `Basic realm="corp"`)
			http.Error(w, "who are you? not "+login+":"+password, http.StatusUnauthorized)
		case strings.HasPrefix(r.URL.Path, "/refused/"):
			http.Error(w, "not for "+login+" with "+password, http.StatusForbidden)
		case strings.HasPrefix(r.URL.Path, "/broken/"):
			http.Error(w, "no storage", http.StatusServiceUnavailable)
		case strings.HasPrefix(r.URL.Path, "/silent/"):
			select {
			case <-released:
			case <-r.Context().Done():
			}
		case files[r.URL.Path] != nil:
			w.Write(files[r.URL.Path])
		default:
			http.NotFound(w, r)
		}
	})
}

// corpZip is the module's zip.
func corpZip() ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{
		"go.mod": "module " + corpModule + "\n\ngo 1.21\n",
		"lib.go": "package lib\n\nconst Where = \"at the site\"\n",
	} {
		w, err := z.Create(corpModule + "@v1.0.0/" + name)
		if err != nil {
			return nil, err
		}
		io.WriteString(w, text) // to memory
	}
	err := z.Close()
	return b.Bytes(), err
}

// corpCertificates makes an authority, and a server's certificate that it
// signed.
func corpCertificates(addr netip.Addr) (authority []byte, server tls.Certificate, err error) {
	make := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		var key *ecdsa.PrivateKey
		var der []byte
		if err != nil {
			return nil, nil
		}
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil
		}
		if signer == nil {
			signer = key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
		der, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		return der, key
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corp Root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, rootKey := make(root, root, nil)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "proxy.corp"},
		IPAddresses: []net.IP{addr.AsSlice()}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, leafKey := make(leaf, root, rootKey)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}),
		tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}, err
}
