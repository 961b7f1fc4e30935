package remote

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// options are the ssh_config options that matter here, as far as they are
// set; the first value of each wins, so they are applied in order of rank.
type options struct {
	hostName, user, hostKeyAlias string
	port                         int
	identityFiles, certificates  []string
	identitiesOnly               *bool
	identityAgent                string
	knownHosts, globalKnownHosts []string
	strict                       string // yes, accept-new
	hashKnownHosts               *bool
	connectTimeout               time.Duration
	aliveInterval                *time.Duration
	aliveCountMax                int
	attempts                     int
	proxyJump, proxyCommand      string
	bindAddress, addressFamily   string
	tty                          *bool // nil: where the host wants one
	pubkeyAlgorithms             []string
	caSignatures                 []string
	rsaSize                      int
	revokedHostKeys              string
	tag                          string
	ignoreUnknown                []string
	ciphers, macs, kex           []string
	hostKeyAlgorithms            []string
	seen                         map[string]bool
}

// setter applies an option's arguments. It is called for the first value of
// an option only, except for those in accumulating.
type setter func(o *options, args []string) error

// setters are the supported options.
var setters = map[string]setter{
	"hostname":              func(o *options, a []string) error { o.hostName = a[0]; return nil },
	"user":                  func(o *options, a []string) error { o.user = a[0]; return nil },
	"hostkeyalias":          func(o *options, a []string) error { o.hostKeyAlias = a[0]; return nil },
	"identityfile":          func(o *options, a []string) error { return addFile(&o.identityFiles, a[0]) },
	"certificatefile":       func(o *options, a []string) error { return addFile(&o.certificates, a[0]) },
	"identityagent":         func(o *options, a []string) error { o.identityAgent = a[0]; return nil },
	"userknownhostsfile":    func(o *options, a []string) error { o.knownHosts = a; return nil },
	"globalknownhostsfile":  func(o *options, a []string) error { o.globalKnownHosts = a; return nil },
	"bindaddress":           func(o *options, a []string) error { o.bindAddress = a[0]; return nil },
	"proxyjump":             setProxyJump,
	"proxycommand":          setProxyCommand,
	"port":                  setPort,
	"identitiesonly":        func(o *options, a []string) (err error) { o.identitiesOnly, err = flag(a[0]); return err },
	"hashknownhosts":        func(o *options, a []string) (err error) { o.hashKnownHosts, err = flag(a[0]); return err },
	"stricthostkeychecking": setStrict,
	"connecttimeout":        func(o *options, a []string) (err error) { o.connectTimeout, err = seconds(a[0]); return err },
	"serveraliveinterval": func(o *options, a []string) error {
		d, err := seconds(a[0])
		o.aliveInterval = &d
		return err
	},
	"serveralivecountmax": func(o *options, a []string) (err error) { o.aliveCountMax, err = count(a[0]); return err },
	"connectionattempts":  func(o *options, a []string) (err error) { o.attempts, err = count(a[0]); return err },
	"requesttty":          setRequestTTY,
	"tag":                 func(o *options, a []string) error { o.tag = a[0]; return nil },
	"ignoreunknown":       func(o *options, a []string) error { o.ignoreUnknown = lowerList(a[0]); return nil },
	"revokedhostkeys":     func(o *options, a []string) error { o.revokedHostKeys = a[0]; return nil },
	"requiredrsasize":     func(o *options, a []string) (err error) { o.rsaSize, err = count(a[0]); return err },
	"refuseconnection":    func(_ *options, a []string) error { return fmt.Errorf("refused: %s", a[0]) },
	"pubkeyauthentication": func(_ *options, a []string) error {
		if strings.EqualFold(a[0], "no") {
			return errors.New("gofleet logs in with keys only")
		}
		return nil
	},
	"preferredauthentications": func(_ *options, a []string) error {
		if !slices.Contains(strings.Split(a[0], ","), "publickey") {
			return errors.New("it leaves out publickey, and gofleet logs in with keys only")
		}
		return nil
	},
	"addressfamily": setAddressFamily,
	"ciphers": func(o *options, a []string) (err error) {
		o.ciphers, err = algorithms(a[0], ciphers, ssh.InsecureAlgorithms().Ciphers)
		return err
	},
	"macs": func(o *options, a []string) (err error) {
		o.macs, err = algorithms(a[0], ssh.SupportedAlgorithms().MACs, ssh.InsecureAlgorithms().MACs)
		return err
	},
	"kexalgorithms": func(o *options, a []string) (err error) {
		o.kex, err = algorithms(a[0], ssh.SupportedAlgorithms().KeyExchanges, ssh.InsecureAlgorithms().KeyExchanges)
		return err
	},
	"pubkeyacceptedalgorithms": func(o *options, a []string) (err error) {
		o.pubkeyAlgorithms, err = algorithms(a[0], slices.Concat(certAlgorithms, []string{ssh.CertAlgoSKED25519v01, ssh.CertAlgoSKECDSA256v01}, ssh.SupportedAlgorithms().PublicKeyAuths), nil)
		return err
	},
	"casignaturealgorithms": func(o *options, a []string) (err error) {
		o.caSignatures, err = algorithms(a[0], caSignatures, []string{ssh.KeyAlgoRSA})
		return err
	},
	"hostkeyalgorithms": func(o *options, a []string) (err error) {
		o.hostKeyAlgorithms, err = algorithms(a[0], ssh.SupportedAlgorithms().HostKeys, ssh.InsecureAlgorithms().HostKeys)
		return err
	},
}

// accumulating options add up over all their lines.
var accumulating = map[string]bool{"identityfile": true, "certificatefile": true}

// apply sets one option. refused says why one is not supported.
func (o *options) apply(l configLine) (refused string, err error) {
	if known, ok := aliases[l.keyword]; ok {
		l.keyword = known
	}
	set, ok := setters[l.keyword]
	if !ok {
		if o.seen[l.keyword] {
			return "", nil // ssh takes the first value
		}
		o.mark(l.keyword)
		return o.unsupported(l), nil
	}
	if o.seen[l.keyword] && !accumulating[l.keyword] {
		return "", nil
	}
	o.mark(l.keyword)
	if err := set(o, l.args); err != nil {
		return "", fmt.Errorf("%s: option %s: %w", l.where(), l.keyword, err)
	}
	return "", nil
}

// aliases are other names that ssh takes for an option.
var aliases = map[string]string{
	"dsaauthentication":      "pubkeyauthentication",
	"identityfile2":          "identityfile",
	"keepalive":              "tcpkeepalive",
	"pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
	"smartcarddevice":        "pkcs11provider",
	"tisauthentication":      "challengeresponseauthentication",
}

func (o *options) mark(keyword string) {
	if o.seen == nil {
		o.seen = map[string]bool{}
	}
	o.seen[keyword] = true
}

// addFile adds a file once: a second pass over the configuration finds it again.
func addFile(files *[]string, f string) error {
	if !slices.Contains(*files, f) {
		*files = append(*files, f)
	}
	return nil
}

func setPort(o *options, a []string) error {
	p, err := strconv.Atoi(a[0])
	if err != nil || p < 1 || p > 65535 {
		return fmt.Errorf("%q is not a port", a[0])
	}
	o.port = p
	return nil
}

// setProxyJump and setProxyCommand exclude each other: the first one wins.
func setProxyJump(o *options, a []string) error {
	o.mark("proxycommand")
	if !strings.EqualFold(a[0], "none") {
		o.proxyJump = a[0]
	}
	return nil
}

func setProxyCommand(o *options, a []string) error {
	o.mark("proxyjump")
	if !strings.EqualFold(a[0], "none") {
		o.proxyCommand = a[0]
	}
	return nil
}

func setStrict(o *options, a []string) error {
	switch strings.ToLower(a[0]) {
	case "yes", "true", "ask": // nobody is asked: that would stop a fleet
		o.strict = "yes"
	case "no", "off", "false", "accept-new":
		o.strict = "accept-new"
	default:
		return fmt.Errorf("%q is not yes, no, ask or accept-new", a[0])
	}
	return nil
}

func setAddressFamily(o *options, a []string) error {
	switch strings.ToLower(a[0]) {
	case "any":
	case "inet":
		o.addressFamily = "4"
	case "inet6":
		o.addressFamily = "6"
	default:
		return fmt.Errorf("%q is not any, inet or inet6", a[0])
	}
	return nil
}

// setRequestTTY reads when to use a terminal: auto is where the host wants one.
func setRequestTTY(o *options, a []string) error {
	if strings.EqualFold(a[0], "auto") {
		return nil
	}
	value := a[0]
	if strings.EqualFold(value, "force") {
		value = "yes"
	}
	var err error
	if o.tty, err = flag(value); err != nil {
		return fmt.Errorf("%q is not yes, no, force or auto", a[0])
	}
	return nil
}

func flag(s string) (*bool, error) {
	switch strings.ToLower(s) {
	case "yes", "true":
		v := true
		return &v, nil
	case "no", "false":
		v := false
		return &v, nil
	}
	return nil, fmt.Errorf("%q is not yes or no", s)
}

func lowerList(s string) []string { return strings.Split(strings.ToLower(s), ",") }

func count(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number above 0", s)
	}
	return n, nil
}

// seconds reads OpenSSH's time format: 90, 90s, 1m30s, 2h.
func seconds(s string) (time.Duration, error) {
	if strings.EqualFold(s, "none") || s == "0" {
		return 0, nil
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var total time.Duration
	for rest := strings.ToLower(s); rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseInt(rest[:digits], 10, 32)
		unit := time.Second
		end := digits
		if digits < len(rest) {
			unit, end = units[rest[digits]], digits+1
		}
		if err != nil || unit == 0 {
			return 0, fmt.Errorf("%q is not a time like 10, 30s or 1m30s", s)
		}
		total += time.Duration(n) * unit
		rest = rest[end:]
	}
	if total <= 0 || total > 365*24*time.Hour {
		return 0, fmt.Errorf("%q is not a time like 10, 30s or 1m30s", s)
	}
	return total, nil
}

// ciphers are those on offer: AES-GCM first, which the processor does by itself.
var ciphers = []string{
	ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
	ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
}

// algorithms reads an algorithm list with OpenSSH's prefixes: + appends to
// the defaults, - takes away from them, ^ puts in front. Names that this
// program does not implement are left out, as long as some are left.
func algorithms(list string, defaults, more []string) ([]string, error) {
	prefix := byte(0)
	if list != "" && strings.IndexByte("+-^", list[0]) >= 0 {
		prefix, list = list[0], list[1:]
	}
	words := strings.Split(list, ",")
	var named []string
	for _, w := range words {
		if strings.ContainsAny(w, "*?") {
			for _, d := range slices.Concat(defaults, more) {
				if wildcard(w, d) && !slices.Contains(named, d) {
					named = append(named, d)
				}
			}
		} else if slices.Contains(defaults, w) || slices.Contains(more, w) {
			named = append(named, w)
		}
	}
	rest := slices.DeleteFunc(slices.Clone(defaults), func(d string) bool { return slices.Contains(named, d) })
	var out []string
	switch prefix {
	case '+':
		out = append(slices.Clone(defaults), slices.DeleteFunc(named, func(n string) bool { return slices.Contains(defaults, n) })...)
	case '-':
		out = rest
	case '^':
		out = append(named, rest...)
	default:
		out = named
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q names nothing that gofleet implements (%s)", list, strings.Join(defaults, ","))
	}
	return out, nil
}
