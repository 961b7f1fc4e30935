package minisign

import (
	"bytes"
	"strings"
	"testing"
)

// keyFor is the same key every time.
func keyFor(f *testing.F) SecretKey {
	f.Helper()
	key, err := Generate(strings.NewReader(strings.Repeat("not at all random ", 64)))
	if err != nil {
		f.Fatal(err)
	}
	return key
}

// FuzzSignature: a signature that is read is written in the one way that there
// is, and none but the signer's fits.
func FuzzSignature(f *testing.F) {
	key, message := keyFor(f), []byte("message")
	good := key.Sign(message, "made for a test").File()
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("test"), []byte("tesT"), 1))
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSignature(text)
		if err != nil {
			return
		}
		if !bytes.Equal(s.File(), text) {
			t.Errorf("%q is not what would be written", text)
		}
		if err := key.Public().Verify(message, s); err == nil && s.Comment != "made for a test" {
			t.Errorf("%q fits, and was not made", text)
		}
	})
}

// FuzzKeys: a key that is read is the key that is written.
func FuzzKeys(f *testing.F) {
	key := keyFor(f)
	f.Add(key.File())
	f.Add(key.Public().File())
	f.Add([]byte(key.Public().String()))
	f.Fuzz(func(t *testing.T, text []byte) {
		if k, err := ParsePublicKey(string(text)); err == nil {
			if again, err := ParsePublicKey(k.String()); err != nil || again != k {
				t.Errorf("%q is %v, written and read it is %v: %v", text, k, again, err)
			}
		}
		if k, err := ParseSecretKey(text); err == nil {
			if again, err := ParseSecretKey(k.File()); err != nil || again.Public() != k.Public() {
				t.Errorf("a secret key is another one when it is written and read: %v", err)
			}
		}
	})
}
