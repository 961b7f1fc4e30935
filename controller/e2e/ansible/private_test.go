//go:build linux

package ansible

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// TestPrivateModules: credentials and an authority come through the role as
// they come through gofleet, are nothing to do the second time, and go with
// state absent. Ansible at its most talkative shows no password.
func TestPrivateModules(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		const password = "t0ken-0f-the-site"
		w.write("ca.pem", authority(w.T, true))
		vars := w.vars("1.26.8")
		maps.Copy(vars, dict{
			"gofleet_user": dict{"name": "deploy"}, "gofleet_ca_certificates": []string{w.dir + "/ca.pem"},
			"gofleet_netrc": []dict{{"machine": "proxy.corp", "login": "ci", "password": password}},
		})
		b, err := json.Marshal(vars)
		if err != nil {
			w.Fatal(err)
		}
		file := w.write("vars.json", string(b))
		play := w.plays(nil, dict{"roles": []string{"gofleet.golang.toolchain"}, "become": true})
		for i, changed := range []bool{true, false} {
			events, out := w.playbook(play, nil, "-e", "@"+file, "-vvvv", "--diff")
			if len(events) == 0 || strings.Contains(out, password) {
				w.Fatalf("run %d gives %d results, or shows the password:\n%s", i, len(events), out)
			}
			if r := events[len(events)-1].Result; r.Failed || r.Changed != changed {
				w.Fatalf("run %d: changed=%v, want %v: %s\n%s", i, r.Changed, changed, r.text(), out)
			}
			if i == 0 && !strings.Contains(out, "+machine proxy.corp login ci password (not shown)") {
				w.Errorf("no diff of .netrc:\n%s", out)
			}
		}
		if got := w.exec("h1", "cat", "/home/deploy/.netrc"); got != "machine proxy.corp login ci password "+password {
			w.Errorf(".netrc is %q", got)
		}
		if got := w.exec("h1", "sh", "-c", "ls /usr/local/share/ca-certificates | wc -l"); got != "1" {
			w.Errorf("%s certificates", got)
		}
		if got := w.gofleet("apply", vars); got != "h1=ok" {
			w.Errorf("gofleet after the role: %s", got)
		}
		options := w.options("1.26.8")
		options["netrc"] = []dict{{"machine": "proxy.corp", "login": "ci", "password": password + ` "x`}}
		if r := w.refused(options, nil, "netrc[0].password"); strings.Contains(r.text(), password) {
			w.Errorf("the refusal shows the password: %s", r.text())
		}
		options = w.options("1.26.8")
		options["ca_certificates"] = []string{authority(w.T, false)}
		w.refused(options, nil, "not an authority's")
		options["ca_certificates"] = []string{"nowhere.pem"}
		w.refused(options, nil, "nowhere.pem")
		w.install(dict{"state": "absent"}, nil, true)
		if got := w.exec("h1", "sh", "-c", "ls -A /home/deploy/.netrc /usr/local/share/ca-certificates 2>/dev/null; true"); strings.Contains(got, ".netrc") || strings.Contains(got, "gofleet-") {
			w.Errorf("left: %s", got)
		}
	})
}

// authority is a certificate in PEM, of an authority or of nobody.
func authority(t *testing.T, ca bool) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corp Root"}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
