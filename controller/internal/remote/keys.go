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
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// maxKeyFile bounds what is read as a private key.
const maxKeyFile = 1 << 20

// maxPassphrases is how often a wrong passphrase may be given for a file.
const maxPassphrases = 3

// keyFile is a private key on disk, read once and asked about once.
type keyFile struct {
	path   string
	load   func() (*keyFile, error)
	asking chan struct{} // holds one token: who has it may ask the user

	mu    sync.Mutex
	state keyState
}

// keyState is what is known of a key. Without signer and content, only the
// public key is.
type keyState struct {
	public  ssh.PublicKey // nil for an encrypted old PEM file
	content []byte        // while it is encrypted
	signer  ssh.AlgorithmSigner
	failed  error // the passphrase was not given; nobody is asked again
}

func (k *keyFile) now() keyState {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

func (k *keyFile) set(s keyState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state = s
}

// keyFile gives the key in a file. An absent file wraps fs.ErrNotExist.
func (d *Dialer) keyFile(path string) (*keyFile, error) {
	d.shared.mu.Lock()
	k, ok := d.shared.keyFiles[path]
	if !ok {
		k = &keyFile{path: path, asking: make(chan struct{}, 1)}
		k.load = sync.OnceValues(func() (*keyFile, error) {
			state, err := readKey(path)
			k.set(state)
			return k, err
		})
		put(&d.shared.keyFiles, path, k)
	}
	d.shared.mu.Unlock()
	return k.load()
}

func readKey(path string) (s keyState, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return s, err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return s, err
	}
	key, err := ssh.ParseRawPrivateKey(content)
	var encrypted *ssh.PassphraseMissingError
	locked := errors.As(err, &encrypted)
	if err != nil && !locked {
		if pub, pubErr := readPublicKey(path); pubErr == nil {
			// IdentityFile may name a public key whose private one the agent has.
			return keyState{public: pub}, nil
		}
		return s, fmt.Errorf("not a private key that gofleet can read: %s", strings.TrimPrefix(err.Error(), "ssh: "))
	}
	if st.Mode().Perm()&0o077 != 0 && ownedByUs(st) {
		return s, fmt.Errorf("others may read it (mode %04o); run chmod 600 %s", st.Mode().Perm(), path)
	}
	if !locked {
		return newKeyState(key)
	}
	s = keyState{content: content, public: encrypted.PublicKey}
	if s.public == nil { // old PEM files hold no public key
		s.public, _ = readPublicKey(path + ".pub")
	}
	return s, nil
}

// newKeyState takes a decrypted key.
func newKeyState(key any) (s keyState, err error) {
	if p, ok := key.(*rsa.PrivateKey); ok && p.N.BitLen() < 2048 {
		return s, fmt.Errorf("an RSA key of %d bits is too weak", p.N.BitLen())
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return s, fmt.Errorf("a key of type %T cannot sign", key)
	}
	plain, err := ssh.NewSignerFromSigner(signer)
	if err != nil {
		return s, err
	}
	as, ok := plain.(ssh.AlgorithmSigner)
	if !ok {
		return s, fmt.Errorf("a key of type %s cannot sign", plain.PublicKey().Type())
	}
	return keyState{signer: as, public: as.PublicKey()}, nil
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
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s := k.now()
	if s.signer != nil || s.failed != nil {
		return s.signer, s.failed
	}
	opened, err := k.ask(ctx, d, s.content)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		opened = keyState{public: s.public, content: s.content, failed: err}
	}
	k.set(opened)
	return opened.signer, err
}

// ask asks for the passphrase until it is right, some times at most.
func (k *keyFile) ask(ctx context.Context, d *Dialer, content []byte) (s keyState, err error) {
	if d.Passphrase == nil {
		return s, fmt.Errorf("key %s is encrypted and there is nobody to ask; add it to ssh-agent with ssh-add", k.path)
	}
	for range maxPassphrases {
		phrase, err := d.Passphrase(ctx, k.path)
		if err != nil {
			return s, fmt.Errorf("passphrase of key %s: %w", k.path, err)
		}
		key, err := ssh.ParseRawPrivateKeyWithPassphrase(content, phrase)
		clear(phrase)
		if err == nil {
			return newKeyState(key)
		}
	}
	return s, fmt.Errorf("the passphrase of key %s is wrong", k.path)
}

// identity is a key on offer to a server, and where it is from.
type identity struct {
	ssh.AlgorithmSigner
	from string
}

// lockedSigner is an encrypted key, whose passphrase is asked for only when a
// server wants a signature of it.
type lockedSigner struct {
	key    *keyFile
	public ssh.PublicKey
	d      *Dialer
	h      *handshake
}

func (s *lockedSigner) PublicKey() ssh.PublicKey { return s.public }

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
	agentKeys = slices.Clone(agentKeys)
	for i, key := range agentKeys {
		agentKeys[i] = &agentSigner{key, h}
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
				key, err = &keyFile{path: path, state: keyState{public: pub}}, nil
			} else if !named {
				continue
			}
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: %v", path, plainError(err)))
			continue
		}
		if a := findSigner(agentKeys, key.now().public); a != nil {
			inAgent[string(a.PublicKey().Marshal())] = true
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

// restrict keeps an identity to what PubkeyAcceptedAlgorithms and
// RequiredRSASize allow, or says why it may not be used.
func (s *settings) restrict(id *identity) error {
	public := id.PublicKey()
	if bits := rsaBits(public); bits > 0 && bits < s.rsaSize {
		return fmt.Errorf("an RSA key of %d bits; RequiredRSASize wants %d", bits, s.rsaSize)
	}
	if s.pubkeyAlgorithms == nil {
		return nil
	}
	// RSA keys sign in several ways, each with a name of its own.
	names := map[string]string{public.Type(): ""}
	switch public.Type() {
	case ssh.KeyAlgoRSA:
		names = map[string]string{ssh.KeyAlgoRSASHA512: ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256: ssh.KeyAlgoRSASHA256}
	case ssh.CertAlgoRSAv01:
		names = map[string]string{ssh.CertAlgoRSASHA512v01: ssh.KeyAlgoRSASHA512, ssh.CertAlgoRSASHA256v01: ssh.KeyAlgoRSASHA256}
	}
	var allowed []string
	for _, name := range s.pubkeyAlgorithms {
		if format, ok := names[name]; ok {
			allowed = append(allowed, format)
		}
	}
	switch {
	case len(allowed) == 0:
		return fmt.Errorf("%s is not among PubkeyAcceptedAlgorithms", public.Type())
	case len(names) == 1:
		return nil
	}
	signer, err := ssh.NewSignerWithAlgorithms(id.AlgorithmSigner, allowed)
	if err != nil {
		return err
	}
	id.AlgorithmSigner = signer
	return nil
}

// rsaBits is the length of an RSA key, plain or certified; 0 for other keys.
func rsaBits(key ssh.PublicKey) int {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok {
			return k.N.BitLen()
		}
	}
	return 0
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
	s := key.now()
	switch {
	case s.signer != nil:
		return identity{s.signer, key.path}, false, nil
	case s.failed != nil:
		return id, false, s.failed
	case s.content == nil:
		return id, false, errors.New("only its public key is here, and ssh-agent does not hold it")
	case s.public == nil: // an old PEM file: it has to be opened to be offered
		resume := h.pause()
		defer resume()
		signer, err := key.unlock(h.ctx, d)
		return identity{signer, key.path}, false, err
	case d.Passphrase == nil:
		_, err := key.unlock(h.ctx, d)
		return id, false, err
	}
	return identity{&lockedSigner{key: key, public: s.public, d: d, h: h}, key.path}, true, nil
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
