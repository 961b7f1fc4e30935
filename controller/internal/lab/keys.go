//go:build linux

package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sync/errgroup"
)

// keyPair is a key in the two forms in which OpenSSH stores it.
type keyPair struct {
	private []byte
	public  ssh.PublicKey
}

// hostKeyTypes name the host keys' files, ssh_host_TYPE_key.
var hostKeyTypes = [...]string{"ed25519", "ecdsa", "rsa"}

func newKey(typ, passphrase string) (keyPair, error) {
	var key crypto.Signer
	var err error
	switch typ {
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = fmt.Errorf("unknown type")
	}
	if err != nil {
		return keyPair{}, fmt.Errorf("make %s key: %w", typ, err)
	}
	var block *pem.Block
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "gofleet-lab", []byte(passphrase))
	} else {
		block, err = ssh.MarshalPrivateKey(key, "gofleet-lab")
	}
	if err != nil {
		return keyPair{}, fmt.Errorf("encode %s key: %w", typ, err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return keyPair{}, fmt.Errorf("encode %s key: %w", typ, err)
	}
	return keyPair{private: pem.EncodeToMemory(block), public: public}, nil
}

// write stores the pair as path and path.pub.
func (k keyPair) write(path string) error {
	if err := os.WriteFile(path, k.private, 0o600); err != nil {
		return err
	}
	return os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(k.public), 0o644)
}

// clientKeys are the files that makeClientKeys writes. All but id_wrong log in.
var clientKeys = []struct{ file, typ, passphrase string }{
	{"id_ed25519", "ed25519", ""},
	{"id_ecdsa", "ecdsa", ""},
	{"id_rsa", "rsa", ""},
	{"id_encrypted", "ed25519", KeyPassphrase},
	{"id_wrong", "ed25519", ""},
}

// makeClientKeys writes the keys that log in, and one that does not, into dir
// and returns the content of authorized_keys.
func makeClientKeys(dir string) ([]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	keys := make([]keyPair, len(clientKeys))
	var g errgroup.Group
	for i, k := range clientKeys {
		g.Go(func() (err error) {
			if keys[i], err = newKey(k.typ, k.passphrase); err != nil {
				return err
			}
			return keys[i].write(filepath.Join(dir, k.file))
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var authorized []byte
	for i, k := range clientKeys {
		if k.file != "id_wrong" {
			authorized = append(authorized, ssh.MarshalAuthorizedKey(keys[i].public)...)
		}
	}
	return authorized, nil
}

// knownHostsLines says of a host at addr what mode wants said.
func knownHostsLines(mode KnownHosts, addr string, keys []ssh.PublicKey) (string, error) {
	marker := ""
	switch mode {
	case KnownAbsent:
		return "", nil
	case KnownChanged:
		changed := make([]ssh.PublicKey, 0, 2)
		for _, typ := range []string{"ed25519", "ecdsa"} {
			k, err := newKey(typ, "")
			if err != nil {
				return "", err
			}
			changed = append(changed, k.public)
		}
		keys = changed
	case KnownRevoked:
		marker = "@revoked "
	case KnownHashed:
		addr = knownhosts.HashHostname(addr)
	}
	var b strings.Builder
	for _, k := range keys {
		if mode == KnownRSA && k.Type() != ssh.KeyAlgoRSA {
			continue
		}
		fmt.Fprintf(&b, "%s%s %s", marker, addr, ssh.MarshalAuthorizedKey(k))
	}
	return b.String(), nil
}
