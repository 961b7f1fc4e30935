// Package vault opens what ansible-vault encrypted. It knows passwords and
// text, and nothing of files, prompts or variables. No error of it holds a
// password or anything of what was encrypted.
package vault

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Header begins every text that ansible-vault encrypted.
const Header = "$ANSIBLE_VAULT"

// DefaultID is the id of passwords and texts that name none.
const DefaultID = "default"

// maxText bounds a text; Ansible holds it in memory several times.
const maxText = 64 << 20

// Error says why a text can't be opened, and the way out.
type Error struct {
	Kind Kind
	ID   string // that the text names
	Msg  string
	Hint string
}

// Kind is the kind of an Error.
type Kind int

// The kinds of errors.
const (
	Damaged     Kind = iota + 1 // not what ansible-vault writes
	Unsupported                 // a cipher or version that it no longer writes
	NoPassword                  // none given, or none with the id
	WrongPassword
)

func (e *Error) Error() string { return e.Msg }

// envelope is an encrypted text taken apart.
type envelope struct {
	id              string
	salt, mac, body []byte
}

// IsEncrypted says whether text begins like an encrypted one.
func IsEncrypted(text []byte) bool { return bytes.HasPrefix(text, []byte(Header)) }

func damaged(id, format string, args ...any) *Error {
	return &Error{Kind: Damaged, ID: id, Msg: "the vault text is damaged: " + fmt.Sprintf(format, args...),
		Hint: "take the whole text again from where it was encrypted; each line of it must be indented alike"}
}

// parse reads the header and the three parts of the body.
func parse(text []byte) (*envelope, *Error) {
	if len(text) > maxText {
		return nil, damaged("", "more than %d MiB", maxText>>20)
	}
	head, rest, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	fields := strings.Split(strings.TrimSpace(string(head)), ";")
	if fields[0] != Header || len(fields) < 3 {
		return nil, damaged("", "its first line is not $ANSIBLE_VAULT;1.1;AES256 or the like")
	}
	e := &envelope{id: DefaultID}
	version, name := strings.TrimSpace(fields[1]), strings.TrimSpace(fields[2])
	if len(fields) >= 4 {
		e.id = clip(strings.TrimSpace(strings.Join(fields[3:], ";")))
	}
	if name != "AES256" || version == "1.0" {
		return nil, &Error{Kind: Unsupported, ID: e.id, Msg: fmt.Sprintf("encrypted with %q in vault format %q; only AES256 in 1.1 and 1.2 can be read", clip(name), clip(version)),
			Hint: "decrypt it with the Ansible that wrote it, and encrypt it again with ansible-vault encrypt"}
	}
	raw, ok := unhex(bytes.Join(bytes.Fields(rest), nil))
	if !ok {
		return nil, damaged(e.id, "its lines are not pairs of hexadecimal digits")
	}
	parts := bytes.SplitN(raw, []byte("\n"), 3)
	if len(parts) != 3 {
		return nil, damaged(e.id, "its end is missing")
	}
	for i, dst := range []*[]byte{&e.salt, &e.mac, &e.body} {
		if *dst, ok = unhex(parts[i]); !ok || len(*dst) == 0 {
			return nil, damaged(e.id, "its end is missing, or its inner digits are not hexadecimal")
		}
	}
	if len(e.mac) != sha256.Size || len(e.body)%aes.BlockSize != 0 {
		return nil, damaged(e.id, "its end is missing")
	}
	return e, nil
}

// clip keeps what an error shows of a header short.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60]
	}
	return s
}

func unhex(b []byte) ([]byte, bool) {
	out := make([]byte, hex.DecodedLen(len(b)))
	_, err := hex.Decode(out, b)
	return out, err == nil
}

// Ring is the passwords of a run. It may be used by several goroutines.
type Ring struct {
	// MatchID lets a password open only texts that name its id.
	MatchID bool

	secrets []secret
	mu      sync.Mutex
	keys    map[keyOf][]byte
}

type secret struct {
	id       string
	password string
}

// keyOf is what a derived key depends on.
type keyOf struct {
	secret int
	salt   string
}

// maxKeys bounds the derived keys that are kept.
const maxKeys = 4096

// Empty says that the ring has no password.
func (r *Ring) Empty() bool { return len(r.secrets) == 0 }

// Add adds a password; an empty id is DefaultID.
func (r *Ring) Add(id string, password []byte) {
	if id == "" {
		id = DefaultID
	}
	r.secrets = append(r.secrets, secret{id, string(password)})
}

// IDs are the ids of the passwords, in their order, each once.
func (r *Ring) IDs() []string {
	var ids []string
	for _, s := range r.secrets {
		if !slices.Contains(ids, s.id) {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// Open decrypts a text. Passwords whose id is the text's are tried first, then
// the others unless MatchID is set. The error is an *Error.
func (r *Ring) Open(text []byte) ([]byte, error) {
	e, bad := parse(text)
	switch {
	case bad != nil && bad.Kind == Damaged && len(r.secrets) == 0: // the first thing to put right
		return nil, r.refusal(&envelope{id: cmp.Or(bad.ID, DefaultID)}, true)
	case bad != nil:
		return nil, bad
	}
	var order []int
	for i, s := range r.secrets {
		if s.id == e.id {
			order = append(order, i)
		}
	}
	if !r.MatchID {
		for i, s := range r.secrets {
			if s.id != e.id {
				order = append(order, i)
			}
		}
	}
	for _, i := range order {
		if plain, ok := e.open(r.key(i, e.salt)); ok {
			return plain, nil
		}
	}
	return nil, r.refusal(e, len(order) == 0)
}

// refusal explains a text that no password opens.
func (r *Ring) refusal(e *envelope, untried bool) *Error {
	hint := "give its password with --vault-password-file FILE or -J"
	if e.id != DefaultID {
		hint = fmt.Sprintf("give its password with --vault-id %s@FILE, --vault-id %s@prompt or --vault-password-file FILE", e.id, e.id)
	}
	switch {
	case len(r.secrets) == 0:
		return &Error{Kind: NoPassword, ID: e.id, Hint: hint,
			Msg: fmt.Sprintf("encrypted with Ansible Vault (id %s), and no vault password is given", e.id)}
	case untried:
		return &Error{Kind: NoPassword, ID: e.id, Hint: hint,
			Msg: fmt.Sprintf("encrypted with Ansible Vault, and no vault password with its id %s is given, which vault_id_match asks for", e.id)}
	}
	return &Error{Kind: WrongPassword, ID: e.id, Hint: hint,
		Msg: fmt.Sprintf("none of the vault passwords given (%s) opens this; it was encrypted with the id %s", strings.Join(r.IDs(), ", "), e.id)}
}

// key derives the 80 bytes that a password gives with a salt, once: the two
// keys and the counter.
func (r *Ring) key(i int, salt []byte) []byte {
	at := keyOf{i, string(salt)}
	r.mu.Lock()
	k := r.keys[at]
	r.mu.Unlock()
	if k != nil {
		return k
	}
	k, err := pbkdf2.Key(sha256.New, r.secrets[i].password, salt, rounds, keyLen)
	if err != nil {
		return make([]byte, keyLen) // FIPS mode may refuse a short salt; it opens nothing then
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil || len(r.keys) >= maxKeys {
		r.keys = map[keyOf][]byte{}
	}
	r.keys[at] = k
	return k
}

const (
	rounds = 10_000
	keyLen = 32 + 32 + aes.BlockSize
)

// open decrypts with a derived key; false where it is the wrong one.
func (e *envelope) open(key []byte) ([]byte, bool) {
	mac := hmac.New(sha256.New, key[32:64])
	mac.Write(e.body)
	if !hmac.Equal(mac.Sum(nil), e.mac) {
		return nil, false
	}
	block, err := aes.NewCipher(key[:32])
	if err != nil {
		return nil, false
	}
	plain := make([]byte, len(e.body))
	cipher.NewCTR(block, key[64:]).XORKeyStream(plain, e.body)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize || !bytes.Equal(plain[len(plain)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, false
	}
	return plain[:len(plain)-pad], true
}
