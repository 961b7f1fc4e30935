package release

import (
	"bytes"
	"crypto"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// key is a primary key of our own with a subkey for signing that is valid in
// 2020 and 2021.
type key struct {
	*openpgp.Entity
	t testing.TB
}

func year(y int) time.Time { return time.Date(y, 6, 1, 0, 0, 0, 0, time.UTC) }

func newKey(t testing.TB) key {
	t.Helper()
	at := func(y int) *packet.Config {
		return &packet.Config{Time: func() time.Time { return year(y) }, Algorithm: packet.PubKeyAlgoEdDSA}
	}
	e, err := openpgp.NewEntity("Test Signing Authority", "", "test@example.org", at(2016))
	must(t, err)
	config := at(2020)
	config.KeyLifetimeSecs = uint32((2 * 365 * 24 * time.Hour).Seconds())
	must(t, e.AddSigningSubkey(config))
	return key{e, t}
}

// signing is the subkey for signing; the other one is for encryption.
func (k key) signing() *openpgp.Subkey { return &k.Subkeys[len(k.Subkeys)-1] }

// signer pins the primary, unless another fingerprint is given.
func (k key) signer() Signer {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	must(k.t, err)
	must(k.t, k.Serialize(w))
	must(k.t, w.Close())
	return Signer{Primary: fingerprint(k.PrimaryKey), Key: b.Bytes()}
}

// sign makes a detached signature at any time, also one that a proper program
// would refuse to make.
func (k key) sign(message string, at time.Time, change ...func(*packet.Signature)) []byte {
	return k.signWith(k.signing().PrivateKey, message, at, change...)
}

func (k key) signWith(priv *packet.PrivateKey, message string, at time.Time, change ...func(*packet.Signature)) []byte {
	k.t.Helper()
	sig := &packet.Signature{
		Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: priv.PubKeyAlgo, Hash: crypto.SHA512,
		CreationTime: at, IssuerKeyId: &priv.KeyId, IssuerFingerprint: priv.Fingerprint,
	}
	for _, f := range change {
		f(sig)
	}
	h := sig.Hash.New()
	io.WriteString(h, message)
	must(k.t, sig.Sign(h, priv, nil))
	return armored(k.t, sig)
}

func armored(t testing.TB, sigs ...*packet.Signature) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.SignatureType, nil)
	must(t, err)
	for _, s := range sigs {
		must(t, s.Serialize(w))
	}
	must(t, w.Close())
	return b.Bytes()
}

const message = "an archive"

func TestSignatureIsJudgedAtItsTime(t *testing.T) {
	k := newKey(t)
	sig, err := k.signer().Verify(strings.NewReader(message), k.sign(message, year(2021)))
	if err != nil {
		t.Fatalf("a good signature by a key that has expired since: %v", err)
	}
	if want := fingerprint(k.signing().PublicKey); sig.Key != want || sig.Primary != fingerprint(k.PrimaryKey) {
		t.Errorf("signed by %s of %s, want %s", sig.Key, sig.Primary, want)
	}
	for want, at := range map[string]time.Time{
		"is older than its key":               year(2019),
		"was made after its key":              year(2023),
		"signature is older than the primary": year(2015),
	} {
		_, err := k.signer().Verify(strings.NewReader(message), k.sign(message, at))
		wantError(t, err, want)
	}
}

func wantError(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
}

func TestRevokedKeysCountForNothing(t *testing.T) {
	for _, reason := range []packet.ReasonForRevocation{packet.KeySuperseded, packet.KeyCompromised} {
		k := newKey(t)
		before := k.sign(message, year(2021))
		config := &packet.Config{Time: func() time.Time { return year(2022) }}
		must(t, k.RevokeSubkey(k.signing(), reason, "", config))
		_, err := k.signer().Verify(strings.NewReader(message), before)
		wantError(t, err, "is revoked")

		k = newKey(t)
		before = k.sign(message, year(2021))
		must(t, k.RevokeKey(reason, "", config))
		_, err = k.signer().Verify(strings.NewReader(message), before)
		wantError(t, err, "primary key is revoked")
	}
}

func TestForeignAndDamagedSignatures(t *testing.T) {
	k, other := newKey(t), newKey(t)
	good := k.sign(message, year(2021))
	verify := func(s Signer, sig []byte, text string) error {
		_, err := s.Verify(strings.NewReader(text), sig)
		return err
	}
	must(t, verify(k.signer(), good, message))

	wantError(t, verify(k.signer(), good, message+"!"), "does not fit the file")
	wantError(t, verify(k.signer(), other.sign(message, year(2021)), message), "not one of primary key")

	mixed := k.signer()
	mixed.Key = other.signer().Key
	wantError(t, verify(mixed, other.sign(message, year(2021)), message), "does not hold primary key")

	wantError(t, verify(k.signer(), nil, message), "not armored")
	wantError(t, verify(k.signer(), []byte(strings.Replace(string(good), "SIGNATURE", "MESSAGE", 2)), message), `is a "PGP MESSAGE"`)
	wantError(t, verify(k.signer(), good[:len(good)/2], message), "signature")
	wantError(t, verify(k.signer(), bytes.Repeat([]byte("x"), maxSignature+1), message), "longer than")
}

func TestUnusualSignatures(t *testing.T) {
	k := newKey(t)
	verify := func(sig []byte) error {
		_, err := k.signer().Verify(strings.NewReader(message), sig)
		return err
	}
	day := uint32(86400)
	wantError(t, verify(k.sign(message, year(2021), func(s *packet.Signature) { s.SigLifetimeSecs = &day })), "expires")
	wantError(t, verify(k.sign(message, year(2021), func(s *packet.Signature) { s.SigType = packet.SigTypeText })), "not one over a file")
	wantError(t, verify(withHash(t, k.sign(message, year(2021)), 2)), "signature")

	one, err := readSignature(k.sign(message, year(2021)))
	must(t, err)
	wantError(t, verify(armored(t, one, one)), "not the only thing")
}

// withHash names another hash algorithm in a signature: 2 is SHA-1.
func withHash(t testing.TB, sig []byte, id byte) []byte {
	t.Helper()
	block, err := armor.Decode(bytes.NewReader(sig))
	must(t, err)
	body, err := io.ReadAll(block.Body)
	must(t, err)
	// Two bytes of framing, then version, type, key algorithm, hash algorithm.
	body[2+3] = id
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.SignatureType, nil)
	must(t, err)
	_, err = w.Write(body)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func TestKeysThatAreNotForSigning(t *testing.T) {
	k := newKey(t)
	binding := k.signing().Sig
	binding.FlagSign, binding.FlagAuthenticate = false, true
	must(t, binding.SignKey(k.signing().PublicKey, k.PrivateKey, nil))
	_, err := k.signer().Verify(strings.NewReader(message), k.sign(message, year(2021)))
	wantError(t, err, "not for signing")
}

// A subkey that did not sign its own binding could be anybody's.
func TestSubkeysMustBeCrossSigned(t *testing.T) {
	k := newKey(t)
	binding := k.signing().Sig
	binding.EmbeddedSignature = nil
	must(t, binding.SignKey(k.signing().PublicKey, k.PrivateKey, nil))
	_, err := k.signer().Verify(strings.NewReader(message), k.sign(message, year(2021)))
	wantError(t, err, "cross-signature")
}

// The embedded key is the one that is pinned, and its subkeys can be judged.
func TestGoogleKey(t *testing.T) {
	e, err := Google().entity()
	must(t, err)
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	valid := 0
	for _, sub := range e.Subkeys {
		if judgeSubkey(sub, now) == nil {
			valid++
		}
	}
	if len(e.Subkeys) < 7 || valid == 0 {
		t.Errorf("of %d subkeys %d can sign in 2026", len(e.Subkeys), valid)
	}
}

// FuzzSignature: only the signature itself is believed, in whatever armor, and
// never for another file. The key is always the same, for every process that
// fuzzes.
func FuzzSignature(f *testing.F) {
	public, err := os.ReadFile("testdata/signer.asc")
	must(f, err)
	good, err := os.ReadFile("testdata/signature.asc")
	must(f, err)
	signer := Signer{Primary: "BC4914A80763EC1D9B39F0D82327B4B781552EF9", Key: public}
	if _, err := signer.Verify(strings.NewReader(message), good); err != nil {
		f.Fatal(err)
	}
	one, err := readSignature(good)
	must(f, err)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(withHash(f, good, 2))
	f.Add(armored(f, one, one))
	f.Add(newKey(f).sign(message, year(2021)))
	f.Fuzz(func(t *testing.T, sig []byte) {
		got, err := signer.Verify(strings.NewReader(message), sig)
		if err == nil && (got.Primary != signer.Primary || !got.Time.Equal(one.CreationTime)) {
			t.Errorf("believed as %s", got)
		}
		if _, err := signer.Verify(strings.NewReader(message+"!"), sig); err == nil {
			t.Error("a signature over another file is believed")
		}
	})
}
