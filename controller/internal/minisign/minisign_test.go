package minisign

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) SecretKey {
	t.Helper()
	k, err := Generate(rand.Reader)
	must(t, err)
	return k
}

func TestRoundTrip(t *testing.T) {
	k, message := newKey(t), []byte("what is signed\n")
	read, err := ParseSecretKey(k.File())
	must(t, err)
	if !bytes.Equal(read.File(), k.File()) {
		t.Fatal("the secret key comes back different")
	}
	for _, text := range []string{k.Public().String(), string(k.Public().File())} {
		p, err := ParsePublicKey(text)
		must(t, err)
		s, err := ParseSignature(read.Sign(message, "a comment").File())
		must(t, err)
		must(t, p.Verify(message, s))
		if s.Comment != "a comment" || s.ID() != p.ID {
			t.Errorf("comment %q by %v", s.Comment, s.ID())
		}
		if p.Verify([]byte("something else"), s) == nil {
			t.Error("it fits another message")
		}
	}
	if p := newKey(t).Public(); p.Verify(message, k.Sign(message, "")) == nil {
		t.Error("it fits another key")
	}
}

// Every bit of a signature counts.
func TestEveryBitCounts(t *testing.T) {
	k, message := newKey(t), []byte("what is signed\n")
	good := k.Sign(message, "comment").File()
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			s, err := ParseSignature(bad)
			if err == nil {
				err = k.Public().Verify(message, s)
			}
			if err == nil {
				t.Errorf("byte %d, bit %d: accepted %q", i, bit, bad)
			}
		}
	}
	for _, bad := range []string{string(good) + "\n", string(good[:len(good)-1]), "", strings.ReplaceAll(string(good), "\n", "\r\n")} {
		if _, err := ParseSignature([]byte(bad)); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

// The program minisign and this package take each other's keys and signatures.
func TestStockMinisign(t *testing.T) {
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("minisign"); err != nil {
			t.Skip("no minisign here; for root .ci/setup installs it")
		}
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	stock := func(args ...string) error {
		out, err := exec.Command("minisign", args...).CombinedOutput()
		if err != nil {
			t.Logf("minisign %v: %v\n%s", args, err, out)
		}
		return err
	}
	message := []byte(strings.Repeat("a line of a manifest\n", 1000))
	must(t, os.WriteFile(path("manifest"), message, 0o644))

	ours := newKey(t)
	must(t, os.WriteFile(path("ours.key"), ours.File(), 0o600))
	must(t, os.WriteFile(path("ours.pub"), ours.Public().File(), 0o644))
	must(t, os.WriteFile(path("manifest.minisig"), ours.Sign(message, "gofleet").File(), 0o644))
	must(t, stock("-Vm", path("manifest"), "-P", ours.Public().String()))
	must(t, stock("-Vm", path("manifest"), "-p", path("ours.pub")))

	for _, legacy := range [][]string{nil, {"-l"}} {
		must(t, stock(append([]string{"-Sm", path("manifest"), "-s", path("ours.key"), "-x", path("stock.minisig")}, legacy...)...))
		text, err := os.ReadFile(path("stock.minisig"))
		must(t, err)
		s, err := ParseSignature(text)
		must(t, err)
		must(t, ours.Public().Verify(message, s))
	}

	must(t, stock("-GW", "-p", path("stock.pub"), "-s", path("stock.key")))
	secret, err := os.ReadFile(path("stock.key"))
	must(t, err)
	k, err := ParseSecretKey(secret)
	must(t, err)
	must(t, os.WriteFile(path("manifest.minisig"), k.Sign(message, "gofleet").File(), 0o644))
	must(t, stock("-Vm", path("manifest"), "-p", path("stock.pub")))
	public, err := os.ReadFile(path("stock.pub"))
	must(t, err)
	if p, err := ParsePublicKey(string(public)); err != nil || p != k.Public() {
		t.Errorf("stock public key: %v, %v", p, err)
	}
}

func TestSecretKeysRefused(t *testing.T) {
	f := secretFields{Algorithm: plain, KDF: scrypt, Checksum: blake}
	if _, err := ParseSecretKey([]byte(untrusted + "x\n" + encode(f) + "\n")); !errors.Is(err, ErrPassword) {
		t.Errorf("with a password: %v", err)
	}
	good := string(newKey(t).File())
	i := strings.Index(good, "\n") + 100
	flip := map[bool]string{true: "B", false: "A"}[good[i] == 'A']
	for _, bad := range []string{"", "RWQ", good[:i] + flip + good[i+1:]} {
		if _, err := ParseSecretKey([]byte(bad)); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}
