package remote

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/agent/wire"
)

// manOptions are all options of ssh_config(5) from OpenSSH 9.2 to 10.1, Debian's
// and macOS' own included, except for Host, Match and Include.
const manOptions = `AddKeysToAgent AddressFamily BatchMode BindAddress BindInterface CanonicalDomains CanonicalizeFallbackLocal
CanonicalizeHostname CanonicalizeMaxDots CanonicalizePermittedCNAMEs CASignatureAlgorithms CertificateFile ChannelTimeout
CheckHostIP Ciphers ClearAllForwardings Compression ConnectionAttempts ConnectTimeout ControlMaster ControlPath ControlPersist
DynamicForward EnableEscapeCommandline EnableSSHKeysign EscapeChar ExitOnForwardFailure FingerprintHash
ForkAfterAuthentication ForwardAgent ForwardX11 ForwardX11Timeout ForwardX11Trusted GatewayPorts GlobalKnownHostsFile
GSSAPIAuthentication GSSAPIClientIdentity GSSAPIDelegateCredentials GSSAPIKeyExchange GSSAPIRenewalForcesRekey
GSSAPIServerIdentity GSSAPITrustDns GSSAPIKexAlgorithms HashKnownHosts HostbasedAcceptedAlgorithms HostbasedAuthentication
HostKeyAlgorithms HostKeyAlias HostName IdentitiesOnly IdentityAgent IdentityFile IgnoreUnknown IPQoS
KbdInteractiveAuthentication KbdInteractiveDevices KexAlgorithms KnownHostsCommand LocalCommand LocalForward LogLevel
LogVerbose MACs NoHostAuthenticationForLocalhost NumberOfPasswordPrompts ObscureKeystrokeTiming PasswordAuthentication
PermitLocalCommand PermitRemoteOpen PKCS11Provider Port PreferredAuthentications ProxyCommand ProxyJump ProxyUseFdpass
PubkeyAcceptedAlgorithms PubkeyAuthentication RefuseConnection RekeyLimit RemoteCommand RemoteForward RequestTTY
RequiredRSASize RevokedHostKeys SecurityKeyProvider SendEnv ServerAliveCountMax ServerAliveInterval SessionType SetEnv
StdinNull StreamLocalBindMask StreamLocalBindUnlink StrictHostKeyChecking SyslogFacility Tag TCPKeepAlive Tunnel TunnelDevice
UpdateHostKeys UseKeychain User UserKnownHostsFile VerifyHostKeyDNS VersionAddendum VisualHostKey WarnWeakCrypto XAuthLocation`

// Every option of ssh_config(5) is honoured, set aside for a reason, or named;
// it is one of these only, and docs/ssh.md says which.
func TestEveryOptionIsClassified(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/ssh.md")
	if err != nil {
		t.Fatal(err)
	}
	var lower []string
	for _, option := range strings.Fields(manOptions) {
		keyword := strings.ToLower(option)
		lower = append(lower, keyword)
		n := 0
		if _, ok := setters[keyword]; ok {
			n++
		}
		if why, ok := setAside[keyword]; ok && why != "" {
			n++
		}
		if u, ok := unsupportedOptions[keyword]; ok && u.why != "" {
			n++
		}
		if n != 1 {
			t.Errorf("%s is in %d tables", option, n)
		}
		if !strings.Contains(strings.NewReplacer(",", " ", "`", " ", "|", " ", ":", " ").Replace(string(doc)), " "+option+" ") {
			t.Errorf("docs/ssh.md does not name %s", option)
		}
	}
	for alias, keyword := range aliases {
		if !slices.Contains(lower, keyword) && setAside[keyword] == "" {
			t.Errorf("%s stands for %s, which is no option", alias, keyword)
		}
	}
	// What the installed ssh knows is in the list.
	out, err := exec.Command("ssh", "-G", "-F", "none", "host").Output()
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(out)) {
		keyword, _, _ := strings.Cut(strings.TrimSpace(l), " ")
		if keyword = strings.ToLower(keyword); keyword != "host" && !slices.Contains(lower, keyword) {
			t.Errorf("ssh has an option %s", keyword)
		}
	}
}

func TestOptionsAtValuesThatMatter(t *testing.T) {
	for option, idle := range map[string][2]string{ // a value that is named, one that is not
		"CanonicalizeHostname": {"yes", "no"}, "CheckHostIP": {"yes", "no"}, "PKCS11Provider": {"/lib/x.so", "none"},
		"ProxyUseFdpass": {"yes", "no"}, "SessionType": {"none", "default"}, "SecurityKeyProvider": {"/lib/sk.so", "internal"},
		"VerifyHostKeyDNS": {"ask", "no"}, "PermitLocalCommand": {"yes", "no"}, "KnownHostsCommand": {"/bin/x %H", "none"},
		"RemoteCommand": {"tmux a", "none"}, "BindInterface": {"eth0", ""}, "SmartcardDevice": {"/lib/x.so", "none"},
	} {
		for i, value := range idle {
			if value == "" {
				continue
			}
			d := configuredDialer(t, option+" "+value+"\n")
			var warnings []string
			d.Warn = func(w string) { warnings = append(warnings, w) }
			if _, err := d.resolve(Target{Name: "web1"}); err != nil {
				t.Errorf("%s %s: %v", option, value, err)
			}
			if named := len(warnings) == 1 && strings.Contains(warnings[0], "config:1"); named != (i == 0) {
				t.Errorf("%s %s: warnings %q", option, value, warnings)
			}
			for _, args := range [][]string{{"-o", option + "=" + value}, {"-o" + option + " " + value}} {
				if _, err := d.resolve(Target{Name: "web1", Args: args}); (err != nil) != (i == 0) {
					t.Errorf("%q: %v", args, err)
				}
			}
		}
	}
	for config, says := range map[string]string{
		"PreferredAuthentications password":                         "publickey",
		"PreferredAuthentications publickey,password":               "",
		"RefuseConnection \"moved to web2\"":                        "moved to web2",
		"RequiredRSASize x":                                         "not a number",
		"RequestTTY perhaps":                                        "perhaps",
		"IgnoreUnknown Foo*,BAR\nFooBar 1\nbar 2":                   "",
		"PubkeyAuthentication yes\nHost *\nPubkeyAuthentication no": "",
	} {
		d := configuredDialer(t, config)
		d.Warn = func(w string) { t.Errorf("%q: %s", config, w) }
		_, err := d.resolve(Target{Name: "web1"})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v", config, err)
		}
	}
	d := configuredDialer(t, "NoSuchOption 1\nMatch tagged prod\nPort 7\n")
	var warnings []string
	d.Warn = func(w string) { warnings = append(warnings, w) }
	s, err := d.resolve(Target{Name: "web1", Args: []string{"-P", "prod"}})
	if err != nil || s.port != 7 || len(warnings) != 1 || !strings.Contains(warnings[0], "does not know it") {
		t.Errorf("%+v, %v, %q", s, err, warnings)
	}
}

// Lists of algorithms with their prefixes mean what they mean to ssh, as far as
// both have the algorithms.
func TestAlgorithmListsAsSSHReadsThem(t *testing.T) {
	supported, insecure := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	for _, c := range []struct {
		keyword, query string
		ours           []string
		field          func(*settings) []string
		lists          []string
	}{
		{"ciphers", "cipher", slices.Concat(ciphers, insecure.Ciphers), func(s *settings) []string { return s.ciphers }, []string{
			"aes256-ctr,aes128-ctr", "+aes128-cbc", "-aes128-ctr,aes192-ctr", "^aes256-ctr,aes256-gcm@openssh.com", "-aes*-ctr", "aes128-gcm@openssh.com"}},
		{"macs", "mac", slices.Concat(supported.MACs, insecure.MACs), func(s *settings) []string { return s.macs }, []string{
			"hmac-sha2-512,hmac-sha2-256", "+hmac-sha1", "-hmac-sha2-256", "^hmac-sha2-512-etm@openssh.com", "-*-etm@openssh.com"}},
		{"kexalgorithms", "kex", slices.Concat(supported.KeyExchanges, insecure.KeyExchanges), func(s *settings) []string { return s.kex }, []string{
			"curve25519-sha256,ecdh-sha2-nistp256", "+diffie-hellman-group14-sha1", "-ecdh-sha2-nistp*", "^ecdh-sha2-nistp521"}},
		{"hostkeyalgorithms", "key-sig", slices.Concat(supported.HostKeys, insecure.HostKeys), func(s *settings) []string { return s.hostKeyAlgorithms }, []string{
			"ssh-ed25519,rsa-sha2-256", "+ssh-rsa", "-ecdsa-sha2-*", "^rsa-sha2-512", "*-cert-v01@openssh.com"}},
		{"pubkeyacceptedalgorithms", "key-sig", slices.Concat(certAlgorithms, supported.PublicKeyAuths), func(s *settings) []string { return s.pubkeyAlgorithms }, []string{
			"ssh-ed25519,rsa-sha2-256", "-rsa-*", "-ssh-ed25519", "^ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"}},
	} {
		known, err := exec.Command("ssh", "-Q", c.query).Output()
		if err != nil {
			t.Fatal(err)
		}
		both := slices.DeleteFunc(strings.Fields(string(known)), func(a string) bool { return !slices.Contains(c.ours, a) })
		for _, list := range c.lists {
			option := c.keyword + "=" + list
			out, err := exec.Command("ssh", "-G", "-F", "none", "-o", option, "host").CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %s", option, out)
			}
			_, line, _ := strings.Cut("\n"+string(out), "\n"+c.keyword+" ")
			line, _, _ = strings.Cut(line, "\n")
			want := strings.Split(line, ",")
			s, err := (&Dialer{ConfigFiles: []string{}}).resolve(Target{Name: "host", Args: []string{"-o", option}})
			if err != nil {
				t.Errorf("%s: %v", option, err)
				continue
			}
			got := c.field(s)
			inBoth := func(l []string) []string {
				return slices.DeleteFunc(slices.Clone(l), func(a string) bool { return !slices.Contains(both, a) })
			}
			prefix := list[0]
			switch prefix {
			case '+', '-': // the defaults differ: what is named must not
				for _, a := range both {
					if patternList(strings.Split(list[1:], ","), a) && slices.Contains(got, a) != slices.Contains(want, a) {
						t.Errorf("%s: %s is in ours: %v, in ssh's: %v", option, a, slices.Contains(got, a), slices.Contains(want, a))
					}
				}
			case '^':
				n := len(strings.Split(list, ","))
				if !slices.Equal(got[:n], want[:n]) {
					t.Errorf("%s begins with %q, ssh's with %q", option, got[:n], want[:n])
				}
			default:
				a, b := inBoth(got), inBoth(want)
				if strings.Contains(list, "*") {
					slices.Sort(a)
					slices.Sort(b)
				}
				if !slices.Equal(a, b) {
					t.Errorf("%s is %q, ssh says %q", option, a, b)
				}
			}
		}
	}
}

// What a host and its user are asked to use, they use.
func TestAlgorithmsAreKept(t *testing.T) {
	s := startSSHD(t, sshdOptions{config: "Ciphers aes256-ctr\nMACs hmac-sha2-512\nKexAlgorithms ecdh-sha2-nistp384"})
	rsaKey := filepath.Join(keys(t), "user_rsa")
	revoked := func(name, content string) string { return s.write(name, content) }
	small := filepath.Join(t.TempDir(), "krl")
	if out, err := exec.Command("ssh-keygen", "-q", "-k", "-f", small, filepath.Join(keys(t), "user_rsa.pub")).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %s", out)
	}
	for name, c := range map[string]struct {
		args []string
		key  string
		kind wire.Kind
		says string
	}{
		"the only ones that the host has":  {args: []string{"-c", "aes256-ctr", "-m", "hmac-sha2-512", "-o", "KexAlgorithms=ecdh-sha2-nistp384"}},
		"a cipher that it has not":         {args: []string{"-c", "aes128-ctr"}, kind: wire.KindUnreachable, says: "Ciphers"},
		"a MAC that it has not":            {args: []string{"-m", "hmac-sha2-256"}, kind: wire.KindUnreachable, says: "MACs"},
		"a key exchange that it has not":   {args: []string{"-o", "KexAlgorithms=-ecdh-sha2-nistp384"}, kind: wire.KindUnreachable, says: "KexAlgorithms"},
		"a type of host key":               {args: []string{"-o", "HostKeyAlgorithms=rsa-sha2-256"}},
		"RSA with SHA-256 only":            {args: []string{"-o", "PubkeyAcceptedAlgorithms=rsa-sha2-256"}, key: rsaKey},
		"a key that is not accepted":       {args: []string{"-o", "PubkeyAcceptedKeyTypes=ssh-ed25519"}, key: rsaKey, kind: wire.KindAuth, says: "PubkeyAcceptedAlgorithms"},
		"RequiredRSASize of the user's":    {args: []string{"-o", "RequiredRSASize=8192"}, key: rsaKey, kind: wire.KindAuth, says: "RequiredRSASize wants 8192"},
		"RequiredRSASize of the host's":    {args: []string{"-o", "RequiredRSASize=8192", "-o", "HostKeyAlgorithms=rsa-sha2-512"}, kind: wire.KindHostKeyUnknown, says: "RequiredRSASize"},
		"RevokedHostKeys has it":           {args: []string{"-o", "RevokedHostKeys=" + revoked("r1", "# all\n"+hostKeyLine(t, "ed25519"))}, kind: wire.KindHostKeyRevoked, says: "r1:2"},
		"RevokedHostKeys has another":      {args: []string{"-o", "RevokedHostKeys=" + revoked("r2", publicLine(t, "ed25519"))}},
		"RevokedHostKeys none":             {args: []string{"-o", "RevokedHostKeys=none"}},
		"RevokedHostKeys is missing":       {args: []string{"-o", "RevokedHostKeys=/nowhere/keys"}, kind: wire.KindHostKeyUnknown, says: "/nowhere/keys"},
		"RevokedHostKeys cannot be read":   {args: []string{"-o", "RevokedHostKeys=" + revoked("r3", "x\n")}, kind: wire.KindHostKeyUnknown, says: "r3:1"},
		"RevokedHostKeys is a binary list": {args: []string{"-o", "RevokedHostKeys=" + small}, kind: wire.KindHostKeyUnknown, says: "binary"},
	} {
		d, target := s.dialer(), s.target("guest")
		target.Args = c.args
		if c.key != "" {
			target.KeyFiles = []string{c.key}
		}
		conn, err := d.Dial(testContext(t), target)
		if err == nil {
			conn.Close()
		}
		w := wire.AsError(fmt.Errorf("%w", errOrNone(err)), "")
		if kindOfError(err) != c.kind || c.says != "" && !strings.Contains(w.Message+w.Hint, c.says) {
			t.Errorf("%s: %q: %v", name, kindOfError(err), err)
		}
	}
}

func errOrNone(err error) error {
	if err == nil {
		return &wire.Error{}
	}
	return err
}
