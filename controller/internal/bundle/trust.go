package bundle

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/controller/internal/minisign"
)

// Any is the word that stands for no key: bundles are then taken whoever made
// them, signed or not. Such a bundle's manifest proves nothing of its archives,
// which need other evidence.
const Any = "any"

// Trust says whose bundles are taken.
type Trust struct {
	Keys []minisign.PublicKey
	Any  bool // also those of others, and unsigned ones
}

// Signed is the comment under every signature that gofleet makes of a bundle.
const signedComment = "gofleet bundle"

// NewTrust reads a list of public keys: each the key itself, the path of a
// file with it, or Any. To them comes the user's own key, if configDir, which
// may be empty, has one.
func NewTrust(configDir string, list []string) (Trust, error) {
	var t Trust
	own := configDir != ""
	if own {
		list = append([]string{filepath.Join(configDir, publicName)}, list...)
	}
	for i, entry := range list {
		if entry == Any {
			t.Any = true
			continue
		}
		key, err := minisign.ParsePublicKey(entry)
		if err != nil {
			var text []byte
			if text, err = readSmall(entry); err == nil {
				key, err = minisign.ParsePublicKey(string(text))
			}
		}
		if own && i == 0 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Trust{}, fmt.Errorf("trusted key %q: %w", entry, err)
		}
		t.Keys = append(t.Keys, key)
	}
	return t, nil
}

// judge says who signed text, or why it is not to be used.
func (t Trust) judge(bundle, what string, text, signature []byte) (signer string, err error) {
	bad := func(reason, hint string) (string, error) {
		return "", &Error{Bundle: bundle, Layer: Signature, What: what + ".minisig", Reason: reason, Hint: hint}
	}
	if signature == nil {
		if t.Any {
			return "", nil
		}
		return bad("there is none", "take a bundle that is signed; one that is not is taken with the trusted key \""+Any+"\"")
	}
	s, err := minisign.ParseSignature(signature)
	if err != nil {
		return bad(err.Error(), carryHint)
	}
	for _, key := range t.Keys {
		if key.ID != s.ID() {
			continue
		}
		if err := key.Verify(text, s); err != nil {
			return bad(err.Error()+": "+what+" or signature was changed", wrongHint)
		}
		return key.ID.String(), nil
	}
	if t.Any {
		return "", nil
	}
	return bad(fmt.Sprintf("it is by key %s, which is not trusted here", s.ID()),
		"if you know that key, write it into gofleet_trusted_keys or give it with --trusted-key: the line in the file "+publicName+" of who made the bundle")
}

// Names of the user's key pair.
const (
	secretName = "bundle.key"
	publicName = "bundle.pub"
)

// ConfigDir is where the user's key pair is, unless told otherwise.
func ConfigDir() (string, error) {
	base, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the user's config directory: %w", err)
	}
	return filepath.Join(base, "gofleet"), nil
}

// OwnKey reads the user's key, and makes one if there is none yet.
func OwnKey(configDir string) (key minisign.SecretKey, made bool, err error) {
	file := filepath.Join(configDir, secretName)
	key, err = ReadKey(file)
	if err == nil {
		return key, false, writePublic(configDir, key) // a crash may have kept it from being written
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if key, err = minisign.Generate(rand.Reader); err != nil {
		return key, false, err
	}
	if err := os.MkdirAll(configDir, 0o700); err != nil {
		return key, false, fmt.Errorf("make a key: %w", err)
	}
	if err := writeNew(file, key.File(), 0o600); err != nil {
		return key, false, fmt.Errorf("make a key: %w", err)
	}
	return key, true, writePublic(configDir, key)
}

// writePublic puts the public key beside the user's secret one, if it is not
// there.
func writePublic(configDir string, key minisign.SecretKey) error {
	err := writeNew(filepath.Join(configDir, publicName), key.Public().File(), 0o644)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write the public key: %w", err)
	}
	return nil
}

// writeNew makes a file that is not there yet, whole or not at all.
func writeNew(file string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(file)
		return err
	}
	return nil
}

// ReadKey reads the file of a secret key. Others must not be able to read it.
func ReadKey(file string) (minisign.SecretKey, error) {
	st, err := os.Stat(file)
	if err != nil {
		return minisign.SecretKey{}, fmt.Errorf("read the key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return minisign.SecretKey{}, fmt.Errorf("read the key: others can read %s: chmod 600 %s", file, file)
	}
	text, err := readSmall(file)
	if err != nil {
		return minisign.SecretKey{}, fmt.Errorf("read the key: %w", err)
	}
	key, err := minisign.ParseSecretKey(text)
	if err != nil {
		return key, fmt.Errorf("read the key %s: %w", file, err)
	}
	return key, nil
}

// readSmall reads a file with a key.
func readSmall(file string) ([]byte, error) {
	st, err := os.Stat(file)
	if err != nil {
		if len(file) > 50 && !strings.ContainsAny(file, "/.") {
			return nil, errors.New("it is neither a public key nor a file with one")
		}
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > minisign.MaxFile {
		return nil, fmt.Errorf("%s is not a file with a key", file)
	}
	return os.ReadFile(file)
}
