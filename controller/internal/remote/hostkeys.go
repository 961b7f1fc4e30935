package remote

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/agent/wire"
)

// hostKeys are the known_hosts files of some hosts, read once.
type hostKeys struct {
	load func() (*knownDB, error)

	mu       sync.Mutex
	accepted map[string]ssh.PublicKey // recorded during this run, by address
}

// hostKeys gives the known_hosts that s names.
func (d *Dialer) hostKeys(s *settings) *hostKeys {
	files := slices.Concat(s.knownHosts, s.globalKnownHosts)
	id := strings.Join(files, "\x00")
	d.shared.mu.Lock()
	defer d.shared.mu.Unlock()
	h, ok := d.shared.hostKeys[id]
	if !ok {
		h = &hostKeys{load: sync.OnceValues(func() (*knownDB, error) { return d.readKnownHosts(files) })}
		put(&d.shared.hostKeys, id, h)
	}
	return h
}

// hostKeyCheck checks the host key of one connection.
type hostKeyCheck struct {
	d    *Dialer
	s    *settings
	keys *hostKeys
	addr string // as known_hosts knows the host: host:port, or the alias

	// own are the lines that name the host as known_hosts calls it, bare those
	// that name it without its unusual port: OpenSSH accepts keys of both.
	own, bare []*knownLine

	mu      sync.Mutex
	refusal error // what the check said, for the caller of the handshake
}

func (d *Dialer) newHostKeyCheck(s *settings) (*hostKeyCheck, error) {
	keys := d.hostKeys(s)
	db, err := keys.load()
	if err != nil {
		return nil, err
	}
	addr := s.addr()
	if s.hostKeyAlias != "" {
		addr = net.JoinHostPort(s.hostKeyAlias, "22") // ssh ignores the port of an alias
	}
	h := &hostKeyCheck{d: d, s: s, keys: keys, addr: addr, own: db.find(knownName(addr))}
	if s.hostKeyAlias == "" && s.port != 22 {
		h.bare = db.find(knownName(net.JoinHostPort(s.host, "22")))
	}
	return h, nil
}

// plainAlgorithms are host key algorithms without certificates, in the order
// that OpenSSH prefers.
var plainAlgorithms = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

var certAlgorithms = []string{
	ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
}

// caSignatures are what an authority may sign a host certificate with: all but
// SHA-1.
var caSignatures = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

// algorithms orders host key algorithms so that the host shows a key that
// known_hosts has: certificates if an authority is known for it, then the
// types of known keys, then the rest, which is there to tell a host that lost
// its known key from one that speaks nothing in common.
func (h *hostKeyCheck) algorithms() []string {
	known := h.known()
	authority := slices.ContainsFunc(known, func(l *knownLine) bool { return l.marker == markerAuthority })
	var out []string
	if authority {
		out = append(out, certAlgorithms...)
	}
	add := func(algos ...string) {
		for _, a := range algos {
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	for _, l := range known {
		switch t := l.key.Type(); {
		case l.marker != "":
		case t == ssh.KeyAlgoRSA:
			add(ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		case slices.Contains(plainAlgorithms, t):
			add(t)
		}
	}
	add(plainAlgorithms...)
	if allowed := h.s.hostKeyAlgorithms; allowed != nil {
		out = slices.DeleteFunc(out, func(a string) bool { return !slices.Contains(allowed, a) })
		for _, a := range allowed {
			if !authority && slices.Contains(certAlgorithms, a) {
				continue
			}
			add(a)
		}
	}
	return out
}

// known are the lines that name the host and revoke nothing.
func (h *hostKeyCheck) known() []*knownLine {
	known := slices.DeleteFunc(slices.Concat(h.own, h.bare), func(l *knownLine) bool { return l.marker == markerRevoked })
	h.keys.mu.Lock()
	defer h.keys.mu.Unlock()
	if k := h.keys.accepted[h.addr]; k != nil {
		known = append(known, &knownLine{key: k, file: h.recordFile()})
	}
	return known
}

// callback is the ssh.HostKeyCallback. Nothing but nil lets a host in.
func (h *hostKeyCheck) callback(_ string, _ net.Addr, key ssh.PublicKey) error {
	err := h.check(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusal = err
	return err
}

// refused is why the host's key was not accepted, or nil.
func (h *hostKeyCheck) refused() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refusal
}

// check says whether the host is who it should be.
func (h *hostKeyCheck) check(key ssh.PublicKey) error {
	cert, isCert := key.(*ssh.Certificate)
	plain := key
	if isCert {
		plain = cert.Key
	}
	lines := h.own
	if len(unmarked(h.own)) == 0 {
		// The bare name counts, and what it revokes, unless the full one has keys.
		lines = slices.Concat(h.own, h.bare)
	}
	listed, err := h.d.revokedKeys(h.s.revokedHostKeys)
	if err != nil {
		return err
	}
	if r := revoked(slices.Concat(lines, listed), key); r != nil {
		return h.revokedError(plain, r)
	}
	if bits := rsaBits(plain); bits > 0 && bits < h.s.rsaSize {
		return wire.NewError(wire.KindHostKeyUnknown, fmt.Errorf("the host key of %s is an RSA key of %d bits; RequiredRSASize wants %d", h.s.addr(), bits, h.s.rsaSize),
			"give the host a longer key, or one of type ed25519, and record it")
	}
	if slices.ContainsFunc(unmarked(lines), func(l *knownLine) bool { return sameKey(l.key, plain) }) {
		return nil // also where a certificate is no good: so does ssh
	}
	if isCert {
		if err := h.checkCertificate(cert); err != nil {
			return h.certificateError(cert, err)
		}
		return nil
	}
	// Only lines of the host with its port say that its key has changed.
	if others := unmarked(h.own); len(others) > 0 {
		return h.changedError(key, others)
	}
	return h.unknown(key)
}

// revoked finds the line that revokes a key, or the key or the authority of a
// certificate.
func revoked(lines []*knownLine, key ssh.PublicKey) *knownLine {
	keys := []ssh.PublicKey{key}
	if cert, ok := key.(*ssh.Certificate); ok {
		keys = []ssh.PublicKey{cert.Key, cert.SignatureKey}
	}
	for _, l := range lines {
		if l.marker == markerRevoked && slices.ContainsFunc(keys, func(k ssh.PublicKey) bool { return sameKey(l.key, k) }) {
			return l
		}
	}
	return nil
}

// unmarked are the lines that hold hosts' own keys.
func unmarked(lines []*knownLine) []*knownLine {
	return slices.DeleteFunc(slices.Clone(lines), func(l *knownLine) bool { return l.marker != "" })
}

// checkCertificate says what is wrong with a host's certificate, if anything.
func (h *hostKeyCheck) checkCertificate(cert *ssh.Certificate) error {
	checker := ssh.CertChecker{IsHostAuthority: func(authority ssh.PublicKey, _ string) bool {
		return slices.ContainsFunc(h.known(), func(l *knownLine) bool {
			return l.marker == markerAuthority && sameKey(l.key, authority)
		})
	}}
	allowed := h.s.caSignatures
	if allowed == nil {
		allowed = caSignatures
	}
	if !slices.Contains(allowed, cert.Signature.Format) {
		return fmt.Errorf("it is signed with %s, which CASignatureAlgorithms does not have", neutral(cert.Signature.Format))
	}
	return checker.CheckHostKey(h.addr, nil, cert)
}

func sameKey(a, b ssh.PublicKey) bool { return string(a.Marshal()) == string(b.Marshal()) }

// unknown refuses a key that is recorded nowhere, or records it.
func (h *hostKeyCheck) unknown(key ssh.PublicKey) error {
	h.keys.mu.Lock()
	defer h.keys.mu.Unlock()
	if k := h.keys.accepted[h.addr]; k != nil {
		if sameKey(k, key) {
			return nil
		}
		return h.changedError(key, []*knownLine{{key: k, file: h.recordFile()}})
	}
	print := ssh.FingerprintSHA256(key)
	if !h.s.accept {
		return &wire.Error{Kind: wire.KindHostKeyUnknown,
			Message: fmt.Sprintf("the host key of %s is unknown: it shows %s %s", h.s.addr(), keyType(key), print),
			Hint: fmt.Sprintf("compare that fingerprint with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub), then record it: ssh-keyscan %s >> %s; or run once with --accept-new-host-keys",
				keyType(key), scanArgs(h.s), cmp.Or(h.recordFile(), "~/.ssh/known_hosts"))}
	}
	file := h.recordFile()
	if file == "" {
		h.d.warn("the host key of %s (%s %s) is accepted for this run; UserKnownHostsFile leaves no file to record it in", h.s.addr(), keyType(key), print)
	} else {
		hash := h.s.hashKnownHosts != nil && *h.s.hashKnownHosts
		if err := recordHostKey(file, h.addr, key, hash); err != nil {
			return wire.NewError(wire.KindHostKeyUnknown, fmt.Errorf("record the host key of %s: %w", h.s.addr(), err),
				"known_hosts must be writable to accept new host keys")
		}
		h.d.warn("the host key of %s was unknown: recorded %s %s in %s", h.s.addr(), keyType(key), print, file)
	}
	put(&h.keys.accepted, h.addr, key)
	return nil
}

// recordFile is where new keys go; empty if the user wants none kept.
func (h *hostKeyCheck) recordFile() string {
	if len(h.s.knownHosts) == 0 || h.s.knownHosts[0] == os.DevNull || h.s.knownHosts[0] == "none" {
		return ""
	}
	return h.s.knownHosts[0]
}

func scanArgs(s *settings) string {
	if s.port == 22 {
		return s.host
	}
	return "-p " + strconv.Itoa(s.port) + " " + s.host
}

// keyType is the type's short name, as ssh-keygen says it.
func keyType(k ssh.PublicKey) string {
	switch k.Type() {
	case ssh.KeyAlgoED25519:
		return "ed25519"
	case ssh.KeyAlgoRSA:
		return "rsa"
	case ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return "ecdsa"
	}
	return k.Type()
}

func (h *hostKeyCheck) changedError(key ssh.PublicKey, want []*knownLine) error {
	known := want[0]
	for _, w := range want {
		if w.key.Type() == key.Type() {
			known = w // the others would say the same less clearly
			break
		}
	}
	return &wire.Error{Kind: wire.KindHostKeyChanged,
		Message: fmt.Sprintf("the host key of %s has changed: it shows %s %s, but %s has %s %s", h.s.addr(), keyType(key), ssh.FingerprintSHA256(key),
			known.where(), keyType(known.key), ssh.FingerprintSHA256(known.key)),
		Hint: fmt.Sprintf("somebody may be listening in. If the host was set up anew, compare the fingerprint with the host's own and forget the old key: ssh-keygen -f %s -R '%s'",
			known.file, knownName(h.addr))}
}

func (h *hostKeyCheck) revokedError(key ssh.PublicKey, r *knownLine) error {
	return &wire.Error{Kind: wire.KindHostKeyRevoked,
		Message: fmt.Sprintf("the host key of %s is revoked: %s %s, by %s", h.s.addr(), keyType(key), ssh.FingerprintSHA256(key), r.where()),
		Hint:    "give the host a new key, and record that one"}
}

func (h *hostKeyCheck) certificateError(cert *ssh.Certificate, err error) error {
	return &wire.Error{Kind: wire.KindHostKeyUnknown,
		Message: fmt.Sprintf("the host certificate of %s (%q, by %s) is not valid: %v", h.s.addr(), neutral(cert.KeyId), ssh.FingerprintSHA256(cert.SignatureKey), err),
		Hint:    "look at its names and dates with ssh-keygen -L, and have it signed again; a certificate is never accepted as a new key"}
}
