package remote

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

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
	db   *knownDB
	addr string // as known_hosts knows the host: host:port, or the alias

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
	return &hostKeyCheck{d: d, s: s, keys: keys, db: db, addr: addr}, nil
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

// algorithms orders host key algorithms so that the host shows a key that
// known_hosts has: certificates if an authority is known for it, then the
// types of known keys, then the rest, which is there to tell a host that lost
// its known key from one that speaks nothing in common.
func (h *hostKeyCheck) algorithms() []string {
	known := h.known()
	authority := slices.ContainsFunc(known, func(k knownhosts.PublicKey) bool { return k.Cert })
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
	for _, k := range known {
		switch {
		case k.Cert:
		case k.Type() == ssh.KeyAlgoRSA:
			add(ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		case slices.Contains(plainAlgorithms, k.Type()):
			add(k.Type())
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

func (h *hostKeyCheck) known() []knownhosts.PublicKey {
	known := h.db.HostKeys(h.addr)
	if bare := h.bareAddr(); bare != "" {
		known = append(known, h.db.HostKeys(bare)...)
	}
	h.keys.mu.Lock()
	defer h.keys.mu.Unlock()
	if k := h.keys.accepted[h.addr]; k != nil {
		known = append(known, knownhosts.PublicKey{PublicKey: k})
	}
	return known
}

// bareAddr is the address without its unusual port: OpenSSH accepts a key
// that is recorded for the host without a port. Empty: there is none.
func (h *hostKeyCheck) bareAddr() string {
	if h.s.hostKeyAlias != "" || h.s.port == 22 {
		return ""
	}
	return net.JoinHostPort(h.s.host, "22")
}

// callback is the ssh.HostKeyCallback. Nothing but nil lets a host in.
func (h *hostKeyCheck) callback(_ string, remote net.Addr, key ssh.PublicKey) error {
	err := h.check(tcpAddr(remote), key)
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

// tcpAddr gives known_hosts' code an address that it can split; it looks at
// it only where there is no host name.
func tcpAddr(a net.Addr) net.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t
	}
	return &net.TCPAddr{IP: net.IPv4zero}
}

func (h *hostKeyCheck) check(remote net.Addr, key ssh.PublicKey) error {
	lookup := h.db.HostKeyCallback()
	err := lookup(h.addr, remote, key)
	if err == nil {
		return nil
	}
	cert, isCert := key.(*ssh.Certificate)
	if isCert {
		if r := revoked(lookup, h.addr, remote, cert.Key, cert.SignatureKey); r != nil {
			return h.revokedError(cert.Key, r)
		}
		// ssh goes on with the plain key when a certificate is no good.
		if lookup(h.addr, remote, cert.Key) == nil {
			return nil
		}
		return h.certificateError(cert, err)
	}
	var revokedErr *xknownhosts.RevokedError
	if errors.As(err, &revokedErr) {
		return h.revokedError(key, &revokedErr.Revoked)
	}
	var keyErr *xknownhosts.KeyError
	if !errors.As(err, &keyErr) {
		return wire.NewError(wire.KindHostKeyUnknown, fmt.Errorf("check the host key of %s: %w", h.s.addr(), err), "")
	}
	if want := h.plainKeys(keyErr.Want); len(want) > 0 {
		return h.changedError(key, want)
	}
	if bare := h.bareAddr(); bare != "" && lookup(bare, remote, key) == nil {
		return nil
	}
	return h.unknown(key)
}

// revoked looks for a @revoked line of one of the keys.
func revoked(lookup ssh.HostKeyCallback, addr string, remote net.Addr, keys ...ssh.PublicKey) *xknownhosts.KnownKey {
	for _, k := range keys {
		var r *xknownhosts.RevokedError
		if errors.As(lookup(addr, remote, k), &r) {
			return &r.Revoked
		}
	}
	return nil
}

// plainKeys leaves out the keys of certificate authorities, which no host shows.
func (h *hostKeyCheck) plainKeys(want []xknownhosts.KnownKey) []xknownhosts.KnownKey {
	var authorities []ssh.PublicKey
	for _, k := range h.known() {
		if k.Cert {
			authorities = append(authorities, k.PublicKey)
		}
	}
	return slices.DeleteFunc(slices.Clone(want), func(w xknownhosts.KnownKey) bool {
		return slices.ContainsFunc(authorities, func(a ssh.PublicKey) bool { return sameKey(a, w.Key) })
	})
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
		return h.changedError(key, []xknownhosts.KnownKey{{Key: k, Filename: h.recordFile()}})
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

func (h *hostKeyCheck) changedError(key ssh.PublicKey, want []xknownhosts.KnownKey) error {
	var lines []string
	for _, w := range want {
		lines = append(lines, fmt.Sprintf("%s:%d has %s %s", h.db.name(w.Filename), w.Line, keyType(w.Key), ssh.FingerprintSHA256(w.Key)))
	}
	name := knownhosts.Normalize(h.addr)
	return &wire.Error{Kind: wire.KindHostKeyChanged,
		Message: fmt.Sprintf("the host key of %s has changed: it shows %s %s, but %s", h.s.addr(), keyType(key), ssh.FingerprintSHA256(key), strings.Join(lines, ", ")),
		Hint: fmt.Sprintf("somebody may be listening in. If the host was set up anew, compare the fingerprint with the host's own and forget the old key: ssh-keygen -f %s -R '%s'",
			h.db.name(want[0].Filename), name)}
}

func (h *hostKeyCheck) revokedError(key ssh.PublicKey, r *xknownhosts.KnownKey) error {
	return &wire.Error{Kind: wire.KindHostKeyRevoked,
		Message: fmt.Sprintf("the host key of %s is revoked: %s %s, by %s:%d", h.s.addr(), keyType(key), ssh.FingerprintSHA256(key), h.db.name(r.Filename), r.Line),
		Hint:    "give the host a new key, and record that one"}
}

func (h *hostKeyCheck) certificateError(cert *ssh.Certificate, err error) error {
	return &wire.Error{Kind: wire.KindHostKeyUnknown,
		Message: fmt.Sprintf("the host certificate of %s (%q, by %s) is not valid: %v", h.s.addr(), neutral(cert.KeyId), ssh.FingerprintSHA256(cert.SignatureKey), err),
		Hint:    "look at its names and dates with ssh-keygen -L, and have it signed again; a certificate is never accepted as a new key"}
}
