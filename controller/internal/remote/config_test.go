package remote

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const sampleConfig = `# a site's ssh_config
Include conf.d/*.conf
Include "missing.conf"

Host alias1 alias2
	HostName real-%h.example.org
	User fromconfig
	Port 2222   # a comment
	IdentityFile ~/.ssh/key_%h_%r
	IdentityFile "/keys/with space"

Host 10.0.*.? !10.0.1.5
  user = dotted
  Port=2200

Host "quoted"
	HostName="q.example.org"
	HostKeyAlias thealias
	ServerAliveInterval 1m30s
	ServerAliveCountMax 7
	ConnectTimeout 25

Match host *.example.org,!q.example.org
	IdentitiesOnly yes
	UserKnownHostsFile /kh/one ~/.ssh/two

Match originalhost special user deploy
	Port 9000
Match originalhost special !user deploy
	Port 9001
Match exec "test %n = execd"
	User execd
Match exec "false" user nobody-at-all
	User never
Match final host final.example.net
	User finaluser
Host finalize
	HostName final.example.net

Host behind
	ProxyJump me@jump1:2022,jump2
Host direct
	ProxyJump none
	ProxyCommand none
Host cmd
	ProxyCommand nc -X 5 %h %p "quoted %r"
	ProxyJump ignored
Host *
	User everyone
	StrictHostKeyChecking accept-new
	HashKnownHosts yes
	ControlMaster auto
	ControlPath ~/.ssh/%C
	ServerAliveInterval 30
`

const includedConfig = `Host included
	User inc
	Match all
	Compression yes
Host *
	AddressFamily inet
`

// What we make of a configuration is what ssh -G makes of it.
func TestConfigAsSSHReadsIt(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	// ssh takes home and included files from the account, not from $HOME: the
	// file's relative Include is written out.
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "conf.d", "a.conf"), []byte(includedConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(strings.Replace(sampleConfig, "conf.d/", dir+"/conf.d/", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{
		{"alias1"}, {"alias2"}, {"10.0.9.1"}, {"10.0.1.5"}, {"quoted"}, {"special"}, {"-l", "deploy", "special"},
		{"execd"}, {"finalize"}, {"behind"}, {"direct"}, {"cmd"}, {"included"}, {"nothing"}, {"x.example.org"},
		{"-o", "User=first", "-o", "User=second", "-p", "77", "alias1"},
		{"-i", "/etc/hostname", "-o", "IdentityFile=/k/two", "alias1"},
		{"-oPort=5", "-J", "other", "cmd"},
		{"-o", "ProxyCommand=none", "cmd"},
		{"-o", "StrictHostKeyChecking=yes", "-o", "ServerAliveInterval 5", "-4", "quoted"},
		{"-o", "userknownhostsfile=/a /b", "nothing"},
		{"-o", "ConnectTimeout=1h", "-o", "HostName=%h.lan", "nothing"},
	} {
		t.Run(strings.Join(c, " "), func(t *testing.T) {
			args := append([]string{"-F", file}, c...)
			out, err := exec.Command("ssh", append([]string{"-G"}, args...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("ssh -G: %v\n%s", err, out)
			}
			want := map[string][]string{}
			for l := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
				k, v, _ := strings.Cut(l, " ")
				want[k] = append(want[k], v)
			}
			d := &Dialer{Home: home}
			alias := c[len(c)-1]
			s, err := d.resolve(Target{Name: alias, Args: args[:len(args)-1]})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{
				"hostname": s.host, "user": s.user, "port": fmt.Sprint(s.port),
				"hostkeyalias": s.hostKeyAlias, "proxycommand": s.proxyCommand, "proxyjump": s.proxyJump,
				"userknownhostsfile":    strings.Join(s.knownHosts, " "),
				"stricthostkeychecking": map[string]string{"": "ask", "yes": "true", "accept-new": "accept-new"}[s.strict],
				"serveraliveinterval":   "0",
				"serveralivecountmax":   fmt.Sprint(max(s.aliveCountMax, 3)),
				"connecttimeout":        "none",
				"identitiesonly":        yesNo(s.identitiesOnly),
				"hashknownhosts":        yesNo(s.hashKnownHosts),
				"addressfamily":         map[string]string{"": "any", "4": "inet", "6": "inet6"}[s.addressFamily],
			}
			if s.aliveInterval != nil {
				got["serveraliveinterval"] = fmt.Sprint(s.aliveInterval.Seconds())
			}
			if s.connectTimeout != 0 {
				got["connecttimeout"] = fmt.Sprint(s.connectTimeout.Seconds())
			}
			if s.proxyCommand != "" { // ssh -G shows the tokens
				got["proxycommand"] = s.options.proxyCommand
				want["proxycommand"] = []string{expandTokens(want["proxycommand"][0], s.tokens(d, alias))}
			}
			for _, k := range slices.Sorted(maps.Keys(got)) {
				if w := strings.Join(want[k], " "); expand(w, home) != got[k] && !(w == "" && got[k] == "") {
					t.Errorf("%s is %q, ssh says %q", k, got[k], w)
				}
			}
			if len(s.identityFiles) > 0 {
				var files []string
				for _, f := range want["identityfile"] {
					files = append(files, d.path(f, s.tokens(d, alias)))
				}
				if !slices.Equal(s.named, files) {
					t.Errorf("keys are %q, ssh says %q", s.named, files)
				}
			}
		})
	}
}

func expand(s, home string) string {
	return strings.ReplaceAll(s, "~/", home+"/")
}

func yesNo(b *bool) string {
	if b != nil && *b {
		return "yes"
	}
	return "no"
}

func configuredDialer(t *testing.T, config string) *Dialer {
	t.Helper()
	d := newDialer(t)
	d.ConfigFiles = nil
	if err := os.MkdirAll(filepath.Join(d.Home, ".ssh", "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Home, ".ssh", "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestInventoryComesBeforeConfig(t *testing.T) {
	d := configuredDialer(t, "Host web1\nUser config\nPort 1\nIdentityFile /from/config\nHostName h\nConnectTimeout 3\nProxyJump bastion\nHost bastion\nUser jumper\nPort 44\nHost *\nProxyJump bastion\n")
	d.Timeout = 0
	s, err := d.resolve(Target{Name: "web1", User: "inventory", Port: 2, KeyFiles: []string{"/from/inventory"}, Args: []string{"-l", "args", "-p", "3", "-i", "/from/args"}})
	if err != nil {
		t.Fatal(err)
	}
	if s.user != "inventory" || s.port != 2 || s.host != "h" || s.timeout != 3*time.Second {
		t.Errorf("%s@%s:%d, timeout %s", s.user, s.host, s.port, s.timeout)
	}
	if want := []string{"/from/inventory", "/from/args", "/from/config"}; !slices.Equal(s.keys, want) {
		t.Errorf("keys %q", s.keys)
	}
	if len(s.jumps) != 1 || s.jumps[0].user != "jumper" || s.jumps[0].port != 44 || len(s.jumps[0].jumps) != 0 {
		t.Errorf("jumps: %+v", s.jumps)
	}
	d.Timeout = 20 * time.Second
	if s, err = d.resolve(Target{Name: "web1"}); err != nil || s.timeout != 20*time.Second || s.user != "config" {
		t.Errorf("timeout %s, user %s, %v", s.timeout, s.user, err)
	}
}

func TestUnsupportedOptionsAreNamed(t *testing.T) {
	d := configuredDialer(t, "Host *\n\tControlMaster auto\n\tPKCS11Provider /lib/x.so\n")
	var warnings []string
	d.Warn = func(w string) { warnings = append(warnings, w) }
	for range 2 {
		if _, err := d.resolve(Target{Name: "web1"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "config:3") || !strings.Contains(warnings[0], "pkcs11provider") {
		t.Errorf("warnings: %q", warnings)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"-o", "PKCS11Provider=/lib/x.so"}, "pkcs11provider"},
		{[]string{"-o", "PubkeyAuthentication=no"}, "keys only"},
		{[]string{"-o", "Port=ssh"}, `"ssh" is not a port`},
		{[]string{"-o", "StrictHostKeyChecking=perhaps"}, "perhaps"},
		{[]string{"-o", "ConnectTimeout=soon"}, "soon"},
		{[]string{"-o", "Ciphers=rot13"}, "rot13"},
		{[]string{"-o"}, "-o needs a value"},
		{[]string{"-W", "x:1"}, "-W is not supported"},
		{[]string{"hostname"}, "is not an option"},
		{[]string{"-o", "Include=/etc/x"}, "include belongs into a file"},
		{[]string{"-J", "a,,b"}, "without a name"},
		{[]string{"-J", "a:99999"}, "99999"},
		{[]string{"-F", "/nowhere/config"}, "/nowhere/config"},
	} {
		if _, err := d.resolve(Target{Name: "web1", Args: c.args}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.args, err)
		}
	}
	for config, says := range map[string]string{
		"Port x":                 "config:1",
		"Host a\n\nUser":         "config:3",
		"User \"open":            "not closed",
		"Match version x":        "version is not supported",
		"Match host":             "needs a value",
		"Include config":         "nest deeper",
		"Host loop\nProxyJump x": "",
	} {
		_, err := configuredDialer(t, config).resolve(Target{Name: "web1"})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v", config, err)
		}
	}
	// Two jump hosts that jump over each other.
	if _, err := configuredDialer(t, "Host a\nProxyJump b\nHost b\nProxyJump a\n").resolve(Target{Name: "a"}); err == nil || !strings.Contains(err.Error(), "jump hosts behind each other") {
		t.Errorf("a circle of jump hosts: %v", err)
	}
}

func TestSplitWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":                                       nil,
		`-o A=b  -o "C=d e"`:                     {"-o", "A=b", "-o", "C=d e"},
		`'it is' "a \"q\" \x" \ `:                {"it is", `a "q" \x`, " "},
		`a'b'"c"d ''`:                            {"abcd", ""},
		`-o ProxyCommand="ssh -W %h:%p \"x y\""`: {"-o", `ProxyCommand=ssh -W %h:%p "x y"`},
	} {
		got, err := splitWords(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{`"open`, `'open`, `end\`} {
		if got, err := splitWords(in); err == nil {
			t.Errorf("%s: %q", in, got)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(sampleConfig)
	f.Add(includedConfig)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "exec") || strings.Contains(strings.ToLower(text), "include") {
			return // runs commands, reads files
		}
		d := &Dialer{Home: "/nonexistent", ConfigFiles: []string{}}
		lines, err := configReader{home: d.Home, dir: d.Home}.parse([]byte(text), "config", 0)
		if err != nil {
			return
		}
		e := evaluation{d: d, settings: &settings{}, alias: "web1"}
		e.pass(lines)
	})
}

func FuzzSplitWords(f *testing.F) {
	f.Add(`-o "C=d e" 'x' \ y`)
	f.Fuzz(func(t *testing.T, text string) {
		words, err := splitWords(text)
		if err == nil {
			parseArgs(words)
		}
	})
}
