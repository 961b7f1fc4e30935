package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What gpg signs, this package takes, and the other way round; but for one
// thing: this package refuses what a key has signed after it expired.
func TestStockGPG(t *testing.T) {
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("gpg"); err != nil {
			t.Skip("no gpg here; for root .ci/setup installs it")
		}
	}
	dir, err := os.MkdirTemp("", "gpg") // short: its agent listens there
	must(t, err)
	gpg := func(args ...string) ([]byte, error) {
		cmd := exec.Command("gpg", append([]string{"--homedir", dir, "--batch", "--quiet"}, args...)...)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Logf("gpg %s: %v\n%s", strings.Join(args, " "), err, said.String())
		}
		return out, err
	}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", dir, "--kill", "all").Run() // there may be none
		os.RemoveAll(dir)
	})
	file := filepath.Join(dir, "archive")
	damaged := filepath.Join(dir, "damaged")
	must(t, os.WriteFile(file, []byte(message), 0o644))
	must(t, os.WriteFile(damaged, []byte("An archive"), 0o644))

	t.Run("gpg signs", func(t *testing.T) {
		for _, algo := range []string{"rsa3072", "ed25519"} {
			name := algo + "@example.org"
			_, err := gpg("--passphrase", "", "--quick-generate-key", name, algo, "cert", "never")
			must(t, err)
			list, err := gpg("--with-colons", "--list-keys", name)
			must(t, err)
			primary := fingerprintOf(t, list)
			_, err = gpg("--passphrase", "", "--quick-add-key", primary, algo, "sign", "1y")
			must(t, err)
			public, err := gpg("--armor", "--export", primary)
			must(t, err)
			asc, err := gpg("--passphrase", "", "--local-user", name, "--armor", "--output", "-", "--detach-sign", file)
			must(t, err)
			s := Signer{Primary: primary, Key: public}
			if _, err := s.Verify(strings.NewReader(message), asc); err != nil {
				t.Errorf("%s: %v", algo, err)
			}
			if _, err := s.Verify(strings.NewReader("An archive"), asc); err == nil {
				t.Errorf("%s: a damaged file is taken", algo)
			}
		}
	})
	t.Run("gpg verifies", func(t *testing.T) {
		k := newKey(t)
		asc, public := filepath.Join(dir, "archive.asc"), filepath.Join(dir, "key.asc")
		must(t, os.WriteFile(public, k.signer().Key, 0o644))
		_, err := gpg("--import", public)
		must(t, err)
		for name, c := range map[string]struct {
			made int // in this year; the key is good in 2020 and 2021
			file string
			good bool
			gpg  bool // to gpg a key that has expired is worth a word, no more
		}{
			"good":      {2021, file, true, true},
			"damaged":   {2021, damaged, false, false},
			"too late":  {2023, file, false, true},
			"too early": {2019, file, false, false},
		} {
			sig := k.sign(message, year(c.made))
			must(t, os.WriteFile(asc, sig, 0o644))
			out, gpgErr := gpg("--status-fd", "1", "--verify", asc, c.file)
			content, err := os.ReadFile(c.file)
			must(t, err)
			_, ourErr := k.signer().Verify(strings.NewReader(string(content)), sig)
			if (ourErr == nil) != c.good {
				t.Errorf("%s: we say %v", name, ourErr)
			}
			valid := gpgErr == nil && strings.Contains(string(out), "[GNUPG:] VALIDSIG "+fingerprint(k.signing().PublicKey))
			if valid != c.gpg {
				t.Errorf("%s: gpg says %v\n%s", name, gpgErr, out)
			}
		}
	})
	t.Run("Google's key", func(t *testing.T) {
		list, err := gpg("--with-colons", "--import-options", "show-only", "--import", "google-linux-signing-key.asc")
		must(t, err)
		if got := fingerprintOf(t, list); got != GooglePrimary {
			t.Errorf("gpg reads %s", got)
		}
	})
}

// fingerprintOf is the first key's in what gpg --with-colons lists.
func fingerprintOf(t *testing.T, list []byte) string {
	t.Helper()
	for line := range strings.Lines(string(list)) {
		if f := strings.Split(line, ":"); f[0] == "fpr" && len(f) > 9 {
			return f[9]
		}
	}
	t.Fatalf("gpg lists no key:\n%s", list)
	return ""
}
