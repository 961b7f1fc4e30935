package remote

import (
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/crypto/ssh"
)

// maxKeyFile bounds what is read as a private key.
const maxKeyFile = 1 << 20

// maxPassphrases is how often a wrong passphrase may be given for a file.
const maxPassphrases = 3

// keyFile is a private key on disk, read once and asked about once.
type keyFile struct {
	path string
	load func() (*keyFile, error)

	public  ssh.PublicKey
	content []byte // while it is encrypted

	mu     sync.Mutex
	signer ssh.AlgorithmSigner
	failed error // the passphrase was not given; nobody is asked again
}

// keyFile gives the key in a file. An absent file wraps fs.ErrNotExist.
func (d *Dialer) keyFile(path string) (*keyFile, error) {
	d.shared.mu.Lock()
	k, ok := d.shared.keyFiles[path]
	if !ok {
		k = &keyFile{path: path}
		k.load = sync.OnceValues(func() (*keyFile, error) { return k, k.read() })
		put(&d.shared.keyFiles, path, k)
	}
	d.shared.mu.Unlock()
	return k.load()
}

func (k *keyFile) read() error {
	f, err := os.Open(k.path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return err
	}
	key, err := ssh.ParseRawPrivateKey(content)
	var encrypted *ssh.PassphraseMissingError
	locked := errors.As(err, &encrypted)
	if err != nil && !locked {
		if pub, pubErr := readPublicKey(k.path); pubErr == nil {
			k.public = pub // IdentityFile may name a public key whose private one the agent has
			return nil
		}
		return fmt.Errorf("not a private key that gofleet can read: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 && ownedByUs(st) {
		return fmt.Errorf("others may read it (mode %04o); run chmod 600 %s", st.Mode().Perm(), k.path)
	}
	if !locked {
		return k.use(key)
	}
	k.content, k.public = content, encrypted.PublicKey
	if k.public == nil { // old PEM files hold no public key
		k.public, _ = readPublicKey(k.path + ".pub")
	}
	return nil
}

// use takes a decrypted key.
func (k *keyFile) use(key any) error {
	if p, ok := key.(*rsa.PrivateKey); ok && p.N.BitLen() < 2048 {
		return fmt.Errorf("an RSA key of %d bits is too weak", p.N.BitLen())
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return fmt.Errorf("a key of type %T cannot sign", key)
	}
	s, err := ssh.NewSignerFromSigner(signer)
	if err != nil {
		return err
	}
	as, ok := s.(ssh.AlgorithmSigner)
	if !ok {
		return fmt.Errorf("a key of type %s cannot sign", s.PublicKey().Type())
	}
	k.signer, k.public = as, s.PublicKey()
	return nil
}

func readPublicKey(path string) (ssh.PublicKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(content)
	return key, err
}

// unlock decrypts the key, asking for its passphrase. Whoever comes while
// another asks waits for that answer.
func (k *keyFile) unlock(ctx context.Context, d *Dialer) (ssh.AlgorithmSigner, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.signer != nil || k.failed != nil {
		return k.signer, k.failed
	}
	if k.content == nil {
		return nil, fmt.Errorf("%s is a public key", k.path)
	}
	if d.Passphrase == nil {
		k.failed = fmt.Errorf("key %s is encrypted and there is nobody to ask; add it to ssh-agent with ssh-add", k.path)
		return nil, k.failed
	}
	for range maxPassphrases {
		phrase, err := d.Passphrase(ctx, k.path)
		if err != nil {
			if ctx.Err() == nil {
				k.failed = fmt.Errorf("passphrase of key %s: %w", k.path, err)
				return nil, k.failed
			}
			return nil, err
		}
		key, err := ssh.ParseRawPrivateKeyWithPassphrase(k.content, phrase)
		clear(phrase)
		if err == nil {
			k.content = nil
			k.failed = k.use(key)
			return k.signer, k.failed
		}
		k.failed = fmt.Errorf("the passphrase of key %s is wrong", k.path)
	}
	return nil, k.failed
}

// identity is a key on offer to a server, and where it is from.
type identity struct {
	ssh.AlgorithmSigner
	from string
}

// lockedSigner is an encrypted key, whose passphrase is asked for only when a
// server wants a signature of it.
type lockedSigner struct {
	key *keyFile
	d   *Dialer
	h   *handshake
}

func (s *lockedSigner) PublicKey() ssh.PublicKey { return s.key.public }

func (s *lockedSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

func (s *lockedSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	resume := s.h.pause() // people type slowly
	signer, err := s.key.unlock(s.h.ctx, s.d)
	resume()
	if err != nil {
		s.h.keyErr = err
		return nil, err
	}
	return signer.SignWithAlgorithm(rand, data, algorithm)
}

// identities are the keys to try on a host, in order: the files named for it,
// those that ssh-agent holds, then encrypted files that have to be asked for.
// notes say which named files are of no use, and why.
func (d *Dialer) identities(h *handshake) (ids []identity, notes []string) {
	s := h.s
	agentKeys, err := d.agentSigners(h.ctx, s)
	if err != nil {
		notes = append(notes, fmt.Sprintf("ssh-agent: %v", err))
	}
	var locked []identity
	inAgent := map[string]bool{}
	only := s.identitiesOnly != nil && *s.identitiesOnly
	for i, path := range s.keys {
		key, err := d.keyFile(path)
		named := i < len(s.named)
		if errors.Is(err, fs.ErrNotExist) {
			// A public key beside an absent file names a key of the agent.
			if pub, pubErr := readPublicKey(path + ".pub"); pubErr == nil {
				key, err = &keyFile{path: path, public: pub}, nil
			} else if !named {
				continue
			}
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: %v", path, plainError(err)))
			continue
		}
		if a := findSigner(agentKeys, key.public); a != nil {
			inAgent[string(key.public.Marshal())] = true
			ids = append(ids, withCertificates(d, s, identity{a, path + " (in ssh-agent)"}, path)...)
			continue
		}
		id, isLocked, err := d.fileIdentity(h, key)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: %v", path, err))
			continue
		}
		if isLocked {
			locked = append(locked, withCertificates(d, s, id, path)...)
		} else {
			ids = append(ids, withCertificates(d, s, id, path)...)
		}
	}
	for _, a := range agentKeys {
		if !only && !inAgent[string(a.PublicKey().Marshal())] {
			ids = append(ids, identity{a, "ssh-agent"})
		}
	}
	return append(ids, locked...), notes
}

// plainError takes the file's name out of an error that is printed behind it.
func plainError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// fileIdentity makes an identity of a key file.
func (d *Dialer) fileIdentity(h *handshake, key *keyFile) (id identity, locked bool, err error) {
	key.mu.Lock()
	signer, failed, encrypted := key.signer, key.failed, key.content != nil
	key.mu.Unlock()
	switch {
	case signer != nil:
		return identity{signer, key.path}, false, nil
	case failed != nil:
		return id, false, failed
	case !encrypted:
		return id, false, errors.New("only its public key is here, and ssh-agent does not hold it")
	case key.public == nil: // an old PEM file: it has to be opened to be offered
		resume := h.pause()
		defer resume()
		signer, err := key.unlock(h.ctx, d)
		return identity{signer, key.path}, false, err
	case d.Passphrase == nil:
		_, err := key.unlock(h.ctx, d)
		return id, false, err
	}
	return identity{&lockedSigner{key: key, d: d, h: h}, key.path}, true, nil
}

// withCertificates puts the certificates of a key before it.
func withCertificates(d *Dialer, s *settings, id identity, path string) []identity {
	var out []identity
	for i, file := range append([]string{path + "-cert.pub"}, s.certificates...) {
		pub, err := readPublicKey(file)
		if err != nil {
			if i > 0 {
				d.warn("certificate %s: %v", file, plainError(err))
			}
			continue
		}
		cert, ok := pub.(*ssh.Certificate)
		if !ok || !sameKey(cert.Key, id.PublicKey()) {
			continue
		}
		signer, err := ssh.NewCertSigner(cert, id.AlgorithmSigner)
		if err != nil {
			d.warn("certificate %s: %v", file, err)
			continue
		}
		if as, ok := signer.(ssh.AlgorithmSigner); ok {
			out = append(out, identity{as, file})
		}
	}
	return append(out, id)
}

func findSigner(signers []ssh.AlgorithmSigner, key ssh.PublicKey) ssh.AlgorithmSigner {
	if key == nil {
		return nil
	}
	for _, s := range signers {
		if sameKey(s.PublicKey(), key) {
			return s
		}
	}
	return nil
}
