package release

import (
	"bytes"
	"crypto"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// GooglePrimary is the fingerprint of the primary key under which Google signs
// Go releases. Its subkeys rotate; the primary is what is pinned.
const GooglePrimary = "EB4C1BFD4F042F6DDDCCEC917721F63BD38B4796"

//go:embed google-linux-signing-key.asc
var googleKey []byte

// Signer is who may sign archives: a primary key, pinned, and its public key
// material, in which the subkeys are looked up.
type Signer struct {
	Primary string // fingerprint, hex
	Key     []byte // armored; may hold other keys too, which count for nothing
}

// Google is the Signer of official Go releases.
func Google() Signer { return Signer{Primary: GooglePrimary, Key: googleKey} }

// Signature is a signature that was found good.
type Signature struct {
	Primary string    // fingerprint of the pinned primary, upper-case hex
	Key     string    // fingerprint of the key that signed, most often a subkey
	Time    time.Time // when, as the signature says
}

func (s Signature) String() string {
	return fmt.Sprintf("signed %s by %s of primary key %s", s.Time.UTC().Format(time.DateOnly), s.Key, s.Primary)
}

// maxSignature bounds an .asc file; real ones have under 1 KiB.
const maxSignature = 16 << 10

// Verify checks a detached armored signature over what signed yields. The key
// is judged as of the time of the signature, so one that has expired since is
// fine; a signature from before the key was made or after it expired, and any
// by a key that has been revoked for whatever reason, is refused.
func (s Signer) Verify(signed io.Reader, armored []byte) (Signature, error) {
	sig, err := readSignature(armored)
	if err != nil {
		return Signature{}, err
	}
	key, err := s.signingKey(sig)
	if err != nil {
		return Signature{}, err
	}
	h, err := sig.PrepareVerify()
	if err != nil {
		return Signature{}, fmt.Errorf("signature: %w", err)
	}
	if _, err := io.Copy(h, signed); err != nil {
		return Signature{}, err
	}
	if err := key.VerifySignature(h, sig); err != nil {
		return Signature{}, fmt.Errorf("signature does not fit the file: %w", err)
	}
	return Signature{Primary: strings.ToUpper(s.Primary), Key: fingerprint(key), Time: sig.CreationTime}, nil
}

func fingerprint(k *packet.PublicKey) string {
	return strings.ToUpper(hex.EncodeToString(k.Fingerprint))
}

// readSignature takes exactly one armored signature and nothing else.
func readSignature(armored []byte) (*packet.Signature, error) {
	if len(armored) > maxSignature {
		return nil, fmt.Errorf("signature is longer than %d bytes", maxSignature)
	}
	block, err := armor.Decode(bytes.NewReader(armored))
	if err != nil {
		return nil, fmt.Errorf("signature is not armored: %w", err)
	}
	if block.Type != openpgp.SignatureType {
		return nil, fmt.Errorf("signature is a %q", block.Type)
	}
	packets := packet.NewReader(block.Body)
	p, err := packets.Next()
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	sig, ok := p.(*packet.Signature)
	if !ok {
		return nil, errors.New("signature holds something else")
	}
	if _, err := packets.Next(); !errors.Is(err, io.EOF) {
		return nil, errors.New("signature is not the only thing in its file")
	}
	switch {
	case sig.SigType != packet.SigTypeBinary:
		return nil, errors.New("signature is not one over a file")
	case sig.Hash != crypto.SHA256 && sig.Hash != crypto.SHA384 && sig.Hash != crypto.SHA512:
		return nil, fmt.Errorf("signature uses %v, which is too weak", sig.Hash)
	case sig.SigLifetimeSecs != nil && *sig.SigLifetimeSecs != 0:
		return nil, errors.New("signature expires; those of Go releases never do")
	}
	return sig, nil
}

// signingKey finds the key that sig names under the pinned primary and judges
// it as of sig's time.
func (s Signer) signingKey(sig *packet.Signature) (*packet.PublicKey, error) {
	entity, err := s.entity()
	if err != nil {
		return nil, err
	}
	at := sig.CreationTime
	self, _ := entity.PrimarySelfSignature()
	switch {
	case self == nil:
		return nil, errors.New("primary key has no valid self-signature")
	case len(entity.Revocations) > 0:
		return nil, errors.New("primary key is revoked")
	case entity.PrimaryKey.CreationTime.After(at):
		return nil, errors.New("signature is older than the primary key")
	case entity.PrimaryKey.KeyExpired(self, at):
		return nil, fmt.Errorf("signature of %s was made after the primary key expired", day(at))
	}
	if sig.CheckKeyIdOrFingerprint(entity.PrimaryKey) {
		if self.FlagsValid && !self.FlagSign {
			return nil, errors.New("primary key is not for signing")
		}
		return entity.PrimaryKey, nil
	}
	for _, sub := range entity.Subkeys {
		if sig.CheckKeyIdOrFingerprint(sub.PublicKey) {
			return sub.PublicKey, judgeSubkey(sub, at)
		}
	}
	return nil, fmt.Errorf("signature is by key %s, which is not one of primary key %s; "+
		"if Google has new subkeys, a newer gofleet knows them", issuer(sig), strings.ToUpper(s.Primary))
}

// judgeSubkey says why the subkey could not sign at that time, or nil. That
// its binding and the cross-signature are valid, reading the key has checked.
func judgeSubkey(sub openpgp.Subkey, at time.Time) error {
	key := fingerprint(sub.PublicKey)
	switch {
	case len(sub.Revocations) > 0:
		return fmt.Errorf("signing key %s is revoked", key)
	case !sub.Sig.FlagsValid || !sub.Sig.FlagSign:
		return fmt.Errorf("key %s is not for signing", key)
	case sub.PublicKey.CreationTime.After(at):
		return fmt.Errorf("signature of %s is older than its key %s of %s", day(at), key, day(sub.PublicKey.CreationTime))
	case sub.PublicKey.KeyExpired(sub.Sig, at), sub.Sig.SigExpired(at) && sub.Sig.SigLifetimeSecs != nil:
		return fmt.Errorf("signature of %s was made after its key %s expired", day(at), key)
	}
	return nil
}

// entity is the pinned key among the key material.
func (s Signer) entity() (*openpgp.Entity, error) {
	list, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(s.Key))
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	for _, e := range list {
		if strings.EqualFold(fingerprint(e.PrimaryKey), s.Primary) {
			return e, nil
		}
	}
	return nil, fmt.Errorf("key material does not hold primary key %s", s.Primary)
}

func issuer(sig *packet.Signature) string {
	switch {
	case len(sig.IssuerFingerprint) > 0:
		return strings.ToUpper(hex.EncodeToString(sig.IssuerFingerprint))
	case sig.IssuerKeyId != nil:
		return fmt.Sprintf("%016X", *sig.IssuerKeyId)
	}
	return "unknown"
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
