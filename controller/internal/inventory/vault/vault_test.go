package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// seal encrypts as ansible-vault does.
func seal(t testing.TB, id, password string, salt, plain []byte) []byte {
	t.Helper()
	key, err := pbkdf2.Key(sha256.New, password, salt, rounds, keyLen)
	if err != nil {
		t.Fatal(err)
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	body := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	block, err := aes.NewCipher(key[:32])
	if err != nil {
		t.Fatal(err)
	}
	cipher.NewCTR(block, key[64:]).XORKeyStream(body, body)
	mac := hmac.New(sha256.New, key[32:64])
	mac.Write(body)
	inner := hex.EncodeToString(salt) + "\n" + hex.EncodeToString(mac.Sum(nil)) + "\n" + hex.EncodeToString(body)
	out := hex.EncodeToString([]byte(inner))
	var b strings.Builder
	b.WriteString(Header + ";1.1;AES256")
	if id != "" {
		b.Reset()
		b.WriteString(Header + ";1.2;AES256;" + id)
	}
	for out != "" {
		n := min(80, len(out))
		b.WriteString("\n" + out[:n])
		out = out[n:]
	}
	return []byte(b.String() + "\n")
}

func ring(passwords ...string) *Ring {
	r := &Ring{}
	for _, p := range passwords {
		id, password, _ := strings.Cut(p, "@")
		r.Add(id, []byte(password))
	}
	return r
}

func TestOpen(t *testing.T) {
	salt := bytes.Repeat([]byte{7}, 32)
	for _, plain := range []string{"", "x", "sixteen bytes ok", "long " + strings.Repeat("é\n", 500)} {
		for _, id := range []string{"", "prod"} {
			text := seal(t, id, "secret", salt, []byte(plain))
			for name, r := range map[string]*Ring{
				"its own": ring("prod@secret"), "another id": ring("dev@wrong", "x@secret"), "none but default": ring("@secret"),
			} {
				got, err := r.Open(text)
				if err != nil || string(got) != plain {
					t.Errorf("%s, id %q: %q, %v", name, id, got, err)
				}
			}
		}
	}
}

// TestOpenLenient opens texts as editors leave them.
func TestOpenLenient(t *testing.T) {
	text := seal(t, "prod", "secret", []byte("salt"), []byte("plain"))
	for _, s := range []string{
		strings.ReplaceAll(string(text), "\n", "\r\n"),
		strings.ReplaceAll(string(text), "\n", "  \n   "),
		strings.TrimSpace(string(text)),
		"\n" + string(text) + "\n\n",
		strings.ToUpper(string(text[:5])) + string(text[5:]),
	} {
		if got, err := ring("prod@secret").Open([]byte(s)); err != nil || string(got) != "plain" {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	text := string(seal(t, "prod", "hunter2", []byte("salt"), []byte("plain text")))
	head, body, _ := strings.Cut(text, "\n")
	match := ring("dev@hunter2")
	match.MatchID = true
	flipped := []byte(text)
	flipped[len(flipped)-2] ^= 1 // the last digit of the last digit
	tests := []struct {
		name string
		ring *Ring
		text string
		kind Kind
		msg  string
	}{
		{"no password", ring(), text, NoPassword, "no vault password is given"},
		{"wrong password", ring("dev@hunter3", "prod@x"), text, WrongPassword, "(dev, prod) opens this; it was encrypted with the id prod"},
		{"wrong id", match, text, NoPassword, "no vault password with its id prod"},
		{"flipped", ring("prod@hunter2"), string(flipped), WrongPassword, "opens this"},
		{"flipped, no password", ring(), head + "\nzz", NoPassword, "(id prod), and no vault password"},
		{"header only", ring("prod@hunter2"), head, Damaged, "its end is missing"},
		{"not hex", ring("prod@hunter2"), head + "\nzz" + body, Damaged, "pairs of hexadecimal"},
		{"one digit less", ring("prod@hunter2"), head + "\n" + body[1:], Damaged, "pairs of hexadecimal"},
		{"inner not hex", ring("prod@hunter2"), head + "\n" + hex.EncodeToString([]byte("xy\nzz\n12")), Damaged, "inner digits"},
		{"no header", ring("prod@hunter2"), body, Damaged, "first line"},
		{"AES", ring("prod@hunter2"), Header + ";1.0;AES\n" + body, Unsupported, "only AES256"},
		{"other cipher", ring("prod@hunter2"), Header + ";1.2;CHACHA;x\n" + body, Unsupported, "only AES256"},
	}
	for _, tt := range tests {
		_, err := tt.ring.Open([]byte(tt.text))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if e.Kind != tt.kind || !strings.Contains(e.Msg, tt.msg) || e.Hint == "" {
			t.Errorf("%s: kind %d, %s (%s)", tt.name, e.Kind, e.Msg, e.Hint)
		}
		if all := e.Msg + e.Hint; strings.Contains(all, "hunter") || strings.Contains(all, "plain") {
			t.Errorf("%s: a secret in %s", tt.name, all)
		}
	}
}

// TestAnsibleVault compares with the real ansible-vault, which GOFLEET_ANSIBLE_INVENTORY
// names by standing beside it, in both directions.
func TestAnsibleVault(t *testing.T) {
	tool := os.Getenv("GOFLEET_ANSIBLE_INVENTORY")
	if tool == "" {
		t.Skip("GOFLEET_ANSIBLE_INVENTORY names no ansible-inventory to compare with")
	}
	vault := filepath.Join(filepath.Dir(tool), "ansible-vault")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(vault, args...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(args, err)
		}
		return out
	}
	password := write("pw", "pass wörd\n")
	for i, plain := range []string{"x", "exactly sixteen!", strings.Repeat("line é\n", 300)} {
		file := write("plain", plain)
		id := []string{"", "prod"}[i%2]
		slug := id + "@" + password
		if id == "" {
			slug = password
		}
		theirs := run("encrypt", "--vault-id", slug, "--output", "-", file)
		if got, err := ring(id + "@pass wörd").Open(theirs); err != nil || string(got) != plain {
			t.Errorf("what ansible-vault encrypted: %q, %v", got, err)
		}
		ours := write("ours", string(seal(t, id, "pass wörd", []byte(fmt.Sprintf("salt %d", i)), []byte(plain))))
		if got := run("view", "--vault-id", slug, ours); strings.TrimRight(string(got), "\n") != strings.TrimRight(plain, "\n") {
			t.Errorf("ansible-vault reads %q of what we encrypted", got)
		}
	}
}

// FuzzOpen opens arbitrary texts: the plain text, or an *Error.
func FuzzOpen(f *testing.F) {
	text := seal(f, "prod", "secret", []byte("salt"), []byte("plain"))
	f.Add(text)
	f.Add(text[:40])
	f.Add([]byte(Header + ";1.1;AES256\n3132"))
	r := ring("prod@secret")
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := r.Open(text)
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Hint == "" || e.Kind == 0) {
			t.Fatalf("%v", err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	text := seal(b, "", "secret", []byte("salt"), []byte("plain"))
	for b.Loop() {
		if _, err := ring("@secret").Open(text); err != nil {
			b.Fatal(err)
		}
	}
}
