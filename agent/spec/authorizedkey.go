package spec

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// AuthorizedKey is one line of an authorized_keys file.
type AuthorizedKey struct {
	Options string // as written; may be empty
	Type    string // ssh-ed25519
	Blob    string // base64
	Comment string
}

// Line is the line, with single spaces between its parts.
func (k AuthorizedKey) Line() string {
	parts := []string{k.Options, k.Type, k.Blob, k.Comment}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

// curves has the length of an uncompressed point for each ECDSA key type.
var curves = map[string]int{"nistp256": 65, "nistp384": 97, "nistp521": 133}

var keyTypes = []string{
	"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
}

// ParseAuthorizedKey reads one line of an authorized_keys file: options, key
// type, base64 and comment. What it accepts, sshd reads the same way. Errors
// never show the key: it may be a private one that was put here by mistake.
func ParseAuthorizedKey(s string) (k AuthorizedKey, hint string, err error) {
	const example = "paste the line of a .pub file, like ssh-ed25519 AAAAC3Nza… name"
	s = strings.TrimSpace(s)
	switch {
	case strings.Contains(s, "PRIVATE KEY"):
		return k, "put in the .pub file instead, and replace that key: it is in an inventory now", errors.New("is a private key")
	case strings.ContainsAny(s, "\n\r"):
		return k, "write each key as a list item of its own", errors.New("has more than one line")
	case !utf8.ValidString(s) || strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0:
		return k, example, errors.New("has a control character, or is not UTF-8")
	case s == "" || s[0] == '#':
		return k, example, errors.New("is not a public key")
	case len(s) > 16<<10:
		return k, example, errors.New("is longer than any public key")
	}
	first, rest := cutField(s)
	if !slices.Contains(keyTypes, first) && !strings.HasPrefix(rest, "AAAA") {
		if k.Options, rest, err = cutOptions(s); err != nil {
			return k, example, err
		}
		first, rest = cutField(rest)
	}
	k.Type = first
	k.Blob, k.Comment = cutField(rest)
	k.Comment = strings.Join(strings.Fields(k.Comment), " ")
	if !slices.Contains(keyTypes, k.Type) {
		return k, keyTypeHint(k.Type), fmt.Errorf("has no key type that sshd accepts here")
	}
	if err := checkBlob(k.Type, k.Blob); err != nil {
		return k, "copy the whole line of the .pub file", fmt.Errorf("is a damaged %s key: %w", k.Type, err)
	}
	return k, "", nil
}

func keyTypeHint(typ string) string {
	switch {
	case typ == "ssh-dss":
		return "sshd no longer accepts DSA keys; make an ed25519 one"
	case strings.Contains(typ, "-cert-v01@"):
		return "a certificate does not belong here; trust its authority with the option cert-authority and the authority's key"
	}
	if near := Nearest(typ, keyTypes); near != "" {
		return "did you mean " + near + "?"
	}
	return "known: " + strings.Join(keyTypes, ", ")
}

// cutField cuts the first word off s.
func cutField(s string) (word, rest string) {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t")
	}
	return s, ""
}

// keyOptions are the options of sshd's authorized_keys; true: with a value.
var keyOptions = map[string]bool{
	"agent-forwarding": false, "cert-authority": false, "command": true, "environment": true, "expiry-time": true,
	"from": true, "no-agent-forwarding": false, "no-port-forwarding": false, "no-pty": false,
	"no-touch-required": false, "no-user-rc": false, "no-x11-forwarding": false, "permitlisten": true,
	"permitopen": true, "port-forwarding": false, "principals": true, "pty": false, "restrict": false,
	"tunnel": true, "user-rc": false, "verify-required": false, "x11-forwarding": false,
}

// cutOptions cuts the options part off a line. sshd ignores a key with an
// option that it does not know, so every one must be known here.
func cutOptions(s string) (options, rest string, err error) {
	i := 0
	for {
		start := i
		for i < len(s) && s[i] != '=' && s[i] != ',' && s[i] != ' ' && s[i] != '\t' {
			i++
		}
		name := strings.ToLower(s[start:i])
		withValue, known := keyOptions[name]
		hasValue := i < len(s) && s[i] == '='
		switch {
		case !known:
			return "", "", errors.New("does not begin with a key type or an option that sshd knows")
		case withValue != hasValue:
			return "", "", fmt.Errorf("has option %s with a value missing or too many", name)
		case hasValue:
			end := quotedEnd(s, i+1)
			if end < 0 {
				return "", "", fmt.Errorf("has option %s with a value that is not in quotes", name)
			}
			i = end
		}
		if i == len(s) {
			return "", "", errors.New("has options and no key")
		}
		if s[i] != ',' {
			break
		}
		i++
	}
	if s[i] != ' ' && s[i] != '\t' {
		return "", "", errors.New("has text behind the value of an option")
	}
	return s[:i], strings.TrimLeft(s[i:], " \t"), nil
}

// quotedEnd is the index behind the value in quotes that begins at start, or
// -1. Only \" is an escape.
func quotedEnd(s string, start int) int {
	if start >= len(s) || s[start] != '"' {
		return -1
	}
	for i := start + 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		case s[i] == '"':
			return i + 1
		}
	}
	return -1
}

// checkBlob decodes a key and checks its parts against its type.
func checkBlob(typ, b64 string) error {
	blob, err := base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil || b64 == "" {
		return errors.New("its base64 is cut or altered")
	}
	parts, ok := sshStrings(blob)
	if !ok {
		return errors.New("it is cut")
	}
	if len(parts) == 0 || string(parts[0]) != typ {
		return errors.New("it holds a key of another type")
	}
	parts = parts[1:]
	if curve, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSuffix(typ, "@openssh.com"), "sk-"), "ecdsa-sha2-"); ok {
		ok = len(parts) >= 2 && string(parts[0]) == curve && len(parts[1]) == curves[curve] && parts[1][0] == 4
		if !ok {
			return errors.New("it has no point of its curve")
		}
		parts = parts[2:]
	} else if typ == "ssh-rsa" {
		if len(parts) != 2 {
			return errors.New("it has no exponent and modulus")
		}
		return checkRSA(parts[0], parts[1])
	} else {
		if len(parts) < 1 || len(parts[0]) != 32 {
			return errors.New("it has not 32 bytes")
		}
		parts = parts[1:]
	}
	want := 0
	if strings.HasPrefix(typ, "sk-") { // the application, "ssh:"
		want = 1
	}
	if len(parts) != want {
		return errors.New("it has parts too many or too few")
	}
	return nil
}

// checkRSA checks the two positive numbers of an RSA key. sshd ignores keys
// below 1024 bits.
func checkRSA(e, n []byte) error {
	if len(e) == 0 || len(e) > 8 || e[0]&0x80 != 0 {
		return errors.New("its exponent is out of range")
	}
	if len(n) == 0 || n[0]&0x80 != 0 || len(n) > 2049 {
		return errors.New("its modulus is out of range")
	}
	if len(n) > 0 && n[0] == 0 {
		n = n[1:]
	}
	if len(n) < 128 {
		return errors.New("it has fewer than 1024 bits")
	}
	return nil
}

// sshStrings splits a blob into its length-prefixed parts.
func sshStrings(b []byte) (parts [][]byte, ok bool) {
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, false
		}
		size := uint64(binary.BigEndian.Uint32(b))
		if size > uint64(len(b)-4) {
			return nil, false
		}
		parts = append(parts, b[4:4+size])
		b = b[4+size:]
	}
	return parts, true
}
