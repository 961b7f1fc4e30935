// Package minisign reads and writes keys and signatures in the format of the
// program minisign, so that either can check what the other has signed.
//
// It takes exactly one spelling of each: no byte of a signature can be altered
// without the signature being refused.
package minisign

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// Comments of what this package writes. They are fixed: the untrusted one is
// under no signature.
const (
	signatureComment = "signature by gofleet"
	secretComment    = "gofleet secret key, without password"

	untrusted = "untrusted comment: "
	trusted   = "trusted comment: "
)

// stockComments are the untrusted comments of signatures that are accepted:
// ours, and the one that minisign writes unless told otherwise.
var stockComments = []string{signatureComment, "signature from minisign secret key"}

var (
	plain     = [2]byte{'E', 'd'} // the message is signed
	prehashed = [2]byte{'E', 'D'} // its BLAKE2b-512 is
	blake     = [2]byte{'B', '2'}
	scrypt    = [2]byte{'S', 'c'}
)

// MaxFile bounds files with keys and signatures; real ones have under 500 bytes.
const MaxFile = 4 << 10

// KeyID names a key pair. It is random and proves nothing.
type KeyID [8]byte

// String is the ID as minisign shows it.
func (id KeyID) String() string { return fmt.Sprintf("%016X", binary.LittleEndian.Uint64(id[:])) }

// PublicKey checks signatures.
type PublicKey struct {
	ID  KeyID
	key [ed25519.PublicKeySize]byte
}

type publicFields struct {
	Algorithm [2]byte
	ID        KeyID
	Key       [ed25519.PublicKeySize]byte
}

// String is the key as `minisign -P` takes it.
func (k PublicKey) String() string { return encode(publicFields{plain, k.ID, k.key}) }

// File is the content of a file with the key, as `minisign -p` takes it.
func (k PublicKey) File() []byte {
	return fmt.Appendf(nil, "%sminisign public key %s\n%s\n", untrusted, k.ID, k)
}

// ParsePublicKey reads a key as String or File gives it, or as minisign does.
func ParsePublicKey(text string) (PublicKey, error) {
	line := strings.TrimSpace(text)
	if strings.HasPrefix(line, untrusted) {
		_, line, _ = strings.Cut(line, "\n")
		line = strings.TrimSpace(line)
	}
	var f publicFields
	if err := decode(line, &f); err != nil {
		return PublicKey{}, fmt.Errorf("not a minisign public key: %w", err)
	}
	if f.Algorithm != plain {
		return PublicKey{}, fmt.Errorf("a minisign public key of unknown kind %q", f.Algorithm)
	}
	return PublicKey{f.ID, f.Key}, nil
}

// SecretKey makes signatures.
type SecretKey struct {
	id  KeyID
	key ed25519.PrivateKey
}

// Generate makes a key pair.
func Generate(random io.Reader) (SecretKey, error) {
	var k SecretKey
	if _, err := io.ReadFull(random, k.id[:]); err != nil {
		return k, fmt.Errorf("make a key: %w", err)
	}
	var err error
	if _, k.key, err = ed25519.GenerateKey(random); err != nil {
		return k, fmt.Errorf("make a key: %w", err)
	}
	return k, nil
}

// Public is the key that checks what k signs.
func (k SecretKey) Public() PublicKey {
	p := PublicKey{ID: k.id}
	copy(p.key[:], k.key.Public().(ed25519.PublicKey))
	return p
}

type secretFields struct {
	Algorithm, KDF, Checksum [2]byte
	Salt                     [32]byte
	Ops, Mem                 uint64
	ID                       KeyID
	Key                      [ed25519.PrivateKeySize]byte
	Sum                      [32]byte
}

func (f *secretFields) sum() [32]byte {
	return blake2b.Sum256(append(append(f.Algorithm[:], f.ID[:]...), f.Key[:]...))
}

// File is the content of a file with the key, as `minisign -G -W` writes it.
func (k SecretKey) File() []byte {
	f := secretFields{Algorithm: plain, Checksum: blake, ID: k.id}
	copy(f.Key[:], k.key)
	f.Sum = f.sum()
	return fmt.Appendf(nil, "%s%s\n%s\n", untrusted, secretComment, encode(f))
}

// ErrPassword says that a secret key is protected by a password.
var ErrPassword = errors.New("the secret key is protected by a password, which gofleet cannot take: make one without, with minisign -G -W")

// ParseSecretKey reads the file of a secret key without password.
func ParseSecretKey(text []byte) (SecretKey, error) {
	comment, line, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if !strings.HasPrefix(comment, untrusted) {
		return SecretKey{}, errors.New("not a minisign secret key: no untrusted comment in front")
	}
	var f secretFields
	if err := decode(strings.TrimSpace(line), &f); err != nil {
		return SecretKey{}, fmt.Errorf("not a minisign secret key: %w", err)
	}
	switch {
	case f.KDF == scrypt:
		return SecretKey{}, ErrPassword
	case f.Algorithm != plain, f.KDF != [2]byte{}, f.Checksum != blake:
		return SecretKey{}, errors.New("a minisign secret key of an unknown kind")
	case f.Sum != f.sum() && f.Sum != [32]byte{}: // minisign -G -W leaves it out
		return SecretKey{}, errors.New("the secret key is damaged: its own sum does not fit")
	}
	k := SecretKey{id: f.ID, key: bytes.Clone(f.Key[:])}
	if !bytes.Equal(ed25519.NewKeyFromSeed(k.key.Seed()), k.key) {
		return SecretKey{}, errors.New("the secret key is damaged: its halves do not belong together")
	}
	return k, nil
}

// Signature is a detached signature. It says nothing before Verify.
type Signature struct {
	Comment string // under the signature too
	comment string // the untrusted one
	fields  signatureFields
	global  [ed25519.SignatureSize]byte
}

type signatureFields struct {
	Algorithm [2]byte
	ID        KeyID
	Signature [ed25519.SignatureSize]byte
}

// Sign signs the message and the comment, which is one line.
func (k SecretKey) Sign(message []byte, comment string) *Signature {
	s := &Signature{Comment: comment, comment: signatureComment}
	sum := blake2b.Sum512(message)
	s.fields = signatureFields{Algorithm: prehashed, ID: k.id}
	copy(s.fields.Signature[:], ed25519.Sign(k.key, sum[:]))
	copy(s.global[:], ed25519.Sign(k.key, s.signed()))
	return s
}

// signed is what the second signature is over.
func (s *Signature) signed() []byte { return append(s.fields.Signature[:], s.Comment...) }

// File is the content of the .minisig file.
func (s *Signature) File() []byte {
	return fmt.Appendf(nil, "%s%s\n%s\n%s%s\n%s\n", untrusted, s.comment, encode(s.fields), trusted, s.Comment, encode(s.global))
}

// ID is that of the key that is said to have signed.
func (s *Signature) ID() KeyID { return s.fields.ID }

// ParseSignature reads a .minisig file, in the one form that File gives.
func ParseSignature(text []byte) (*Signature, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("signature is longer than %d bytes", MaxFile)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], untrusted) || !strings.HasPrefix(lines[2], trusted) {
		return nil, errors.New("not a minisign signature")
	}
	s := &Signature{comment: lines[0][len(untrusted):], Comment: lines[2][len(trusted):]}
	ok := false
	for _, c := range stockComments {
		ok = ok || s.comment == c
	}
	if !ok {
		return nil, fmt.Errorf("signature has the untrusted comment %q, which nothing protects; it would be %q", s.comment, stockComments[0])
	}
	if err := decode(lines[1], &s.fields); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	if err := decode(lines[3], &s.global); err != nil {
		return nil, fmt.Errorf("signature of the comment: %w", err)
	}
	if !bytes.Equal(s.File(), text) {
		return nil, errors.New("signature is not written as minisign writes it")
	}
	return s, nil
}

// Verify says why the key did not sign message and comment, or nil.
func (k PublicKey) Verify(message []byte, s *Signature) error {
	switch s.fields.Algorithm {
	case plain:
	case prehashed:
		sum := blake2b.Sum512(message)
		message = sum[:]
	default:
		return fmt.Errorf("signature is of unknown kind %q", s.fields.Algorithm)
	}
	switch {
	case s.fields.ID != k.ID:
		return fmt.Errorf("signature is by key %s, not %s", s.fields.ID, k.ID)
	case !ed25519.Verify(k.key[:], message, s.fields.Signature[:]):
		return fmt.Errorf("signature by key %s does not fit", k.ID)
	case !ed25519.Verify(k.key[:], s.signed(), s.global[:]):
		return fmt.Errorf("signature by key %s does not fit its trusted comment", k.ID)
	}
	return nil
}

// encode writes fixed-size fields as base64 of their bytes.
func encode(fields any) string {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, fields); err != nil {
		panic("minisign: " + err.Error()) // only for types without a fixed size
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// decode reads what encode writes, and nothing else.
func decode(line string, fields any) error {
	b, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil {
		return err
	}
	if n := binary.Size(fields); len(b) != n {
		return fmt.Errorf("it has %d bytes, not %d", len(b), n)
	}
	return binary.Read(bytes.NewReader(b), binary.LittleEndian, fields)
}
