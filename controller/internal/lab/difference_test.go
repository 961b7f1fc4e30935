//go:build linux

package lab

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// check is a command that proves, in a session through the real ssh client, how
// a host is.
type check struct {
	user    string
	command string
	stdin   string
	want    string // a regular expression of stdout and stderr
	fails   bool
}

// differences are hosts and what has to be seen in them.
var differences = []struct {
	config HostConfig
	checks []check
}{
	{HostConfig{Name: "default"}, []check{
		{user: AdminUser, command: "hostname; sudo -n id -u", want: `^default\n0\n$`},
		{user: OpsUser, command: "sudo -n true", want: `password is required`, fails: true},
		{user: OpsUser, command: "sudo -S -p '' id -u", stdin: SudoPassword + "\n", want: `^0\n$`},
		{user: OpsUser, command: "sudo -S -p '' id -u", stdin: "wrong\n", want: `incorrect password|no password was provided`, fails: true},
		{user: PlainUser, command: "sudo -n true", want: `password is required`, fails: true},
		{user: "root", command: "id -u; ls -A /home /usr/local/bin /usr/local/lib /tmp", want: `^0\n/home:\nadmin\nops\nplain\n\n/tmp:\n\n/usr/local/bin:\n\n/usr/local/lib:\n$`},
		{user: AdminUser, command: "command -v go gofmt; ls -d /usr/local/go /usr/local/lib/gofleet", want: `No such file`, fails: true},
		{user: AdminUser, command: "ps -e | wc -l", want: `^[1-9]\n$`},
		{user: AdminUser, command: "for t in ed25519 ecdsa rsa; do sudo ssh-keygen -lf /etc/ssh/ssh_host_${t}_key; done", want: `\(ED25519\)\n.*\(ECDSA\)\n.*\(RSA\)\n$`},
		{user: AdminUser, command: "ls -l /proc/1/ns/net >/dev/null 2>&1; ip route", want: `^10\.213\.\d+\.0/22 dev eth0 [^\n]*\n$`},
	}},
	{HostConfig{Name: "small", Memory: 512 << 20, CPUs: 1}, []check{
		{user: AdminUser, command: "free -m | awk '/Mem/ {print $2}'; nproc; grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online", want: `^512\n1\n1\n0\n$`},
	}},
	{HostConfig{Name: "many", CPUs: 64, Memory: 256 << 30}, []check{
		{user: AdminUser, command: "nproc --all; grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/possible; free -g | awk '/Mem/ {print $2}'", want: `^64\n64\n0-63\n256\n$`},
	}},
	{HostConfig{Name: "kernel", Kernel: "3.10.0-1160.el7", Machine: "mips64"}, []check{
		{user: AdminUser, command: "uname -s -n -r -m; sudo uname -r; cut -d' ' -f1-3 /proc/version; cat /proc/sys/kernel/osrelease",
			want: `^Linux kernel 3\.10\.0-1160\.el7 mips64\n3\.10\.0-1160\.el7\nLinux version 3\.10\.0-1160\.el7\n3\.10\.0-1160\.el7\n$`},
	}},
	{HostConfig{Name: "clock", Clock: 1000 * 24 * time.Hour}, []check{
		// Files have the machine's time. The agent, which is static, is asked in e2e/faults.
		{user: AdminUser, command: "now=$(date +%s); sudo sh -c 'date +%s'; touch f; echo $(( (now - $(stat -c %Y f)) / 86400 ))", want: `^\d+\n(1000|999)\n$`},
	}},
	{HostConfig{Name: "glibc", Glibc: "2.17", OSRelease: "ID=rocky\nVERSION_ID=\"8.9\"\n"}, []check{
		{user: AdminUser, command: "getconf GNU_LIBC_VERSION; ldd --version | head -1; . /etc/os-release; echo $ID $VERSION_ID; sudo true", want: `^glibc 2\.17\nldd .* 2\.17\nrocky 8\.9\n$`},
	}},
	{HostConfig{Name: "musl", Musl: true, Memory: 1 << 30}, []check{
		{user: "root", command: "id -u; ls /lib; . /etc/os-release; echo $ID; grep -c ' / ' /proc/mounts; free -m | awk '/Mem/ {print $2}'", want: `^0\nld-musl-[^\n]*\nalpine\n1\n1024\n$`},
		{user: "root", command: "ls /lib64 /usr/lib; command -v sudo python3 getconf", want: `No such file`, fails: true},
	}},
	{HostConfig{Name: "disk", LocalSize: 4 << 20, LocalNodes: 20, Noexec: []string{"/tmp", "/run"}}, []check{
		{user: "root", command: "df -k --output=size,itotal /usr/local/lib | tail -1; head -c 5M /dev/zero > /usr/local/lib/full", want: `^ *4096 +20\n.*No space left`, fails: true},
		{user: "root", command: "cp /bin/true /tmp/t; /tmp/t", want: `Permission denied`, fails: true},
		{user: "root", command: "cp /bin/true /run/t; /run/t", want: `Permission denied`, fails: true},
		{user: "root", command: "cp /bin/true /var/tmp/t; /var/tmp/t; echo $?", want: `^0\n$`},
	}},
	{HostConfig{Name: "bare", NoPython: true, NoSudo: true, Hide: []string{"/usr/bin/tar"}, Files: map[string]string{"/etc/extra/file": "text"}}, []check{
		{user: AdminUser, command: "command -v python3 sudo tar; cat /etc/extra/file", want: `^text$`},
	}},
	{HostConfig{Name: "noisy", Noisy: true}, []check{
		{user: AdminUser, command: "echo result", want: `(?s)Authorised use only.*last line, unfinished: (noise on stderr\n)?result\n`},
		{user: AdminUser, command: "bash -lc 'echo result' | head -1", want: `(?s)last line, unfinished: .*Authorised use only`},
	}},
	{HostConfig{Name: "cgroup", Cgroup: map[string]string{"memory.max": "1000000\n", "sub/cpu.max": "50000 100000\n"}}, []check{
		{user: AdminUser, command: "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/sub/cpu.max", want: `^1000000\n50000 100000\n$`},
	}},
	{HostConfig{Name: "pam", PAM: true, SSHD: []string{"Ciphers aes256-ctr"}}, []check{
		{user: AdminUser, command: "sudo sed -i 's/^plain:[*]/plain:!/' /etc/shadow", want: `^$`},
		{user: PlainUser, command: "echo unlocked", want: `^unlocked\n$`},
	}},
	{HostConfig{Name: "locked"}, []check{
		{user: AdminUser, command: "sudo sed -i 's/^plain:[*]/plain:!/' /etc/shadow", want: `^$`},
		{user: PlainUser, command: "true", want: `Permission denied`, fails: true},
	}},
}

func (c check) run(t *testing.T, l *Lab, h *Host) {
	t.Helper()
	cmd := l.SSH(testContext(t), c.user, h, c.command)
	if c.stdin != "" {
		cmd.Stdin = strings.NewReader(c.stdin)
	}
	began := time.Now()
	out, err := cmd.CombinedOutput()
	t.Logf("%.2f s: %s@%s %s", time.Since(began).Seconds(), c.user, h.Name, c.command)
	if (err != nil) != c.fails {
		t.Errorf("%s@%s %s: %v", c.user, h.Name, c.command, err)
	}
	if !regexp.MustCompile(c.want).Match(out) {
		t.Errorf("%s@%s %s\n got: %q\nwant: %q", c.user, h.Name, c.command, out, c.want)
	}
}

func TestDifferences(t *testing.T) {
	needRoot(t)
	var c Config
	for _, d := range differences {
		c.Hosts = append(c.Hosts, d.config)
	}
	l := startLab(t, c)
	for i, d := range differences {
		t.Run(d.config.Name, func(t *testing.T) {
			t.Parallel()
			for _, c := range d.checks {
				c.run(t, l, l.Hosts[i])
			}
		})
	}
}

func TestSFTP(t *testing.T) {
	needRoot(t)
	const broken = "Connection closed|Received message too long|message too long|subsystem request failed"
	tests := []struct {
		mode  SFTPMode
		noisy bool
		want  string
		fails bool
	}{
		{mode: SFTPOn, want: "home"},
		{mode: SFTPOn, noisy: true, want: "home"},
		{mode: SFTPChroot, want: "upload"},
		{mode: SFTPReadOnly, want: "Permission denied", fails: true},
		{mode: SFTPOff, want: broken, fails: true},
		{mode: SFTPBroken, want: broken, fails: true},
		{mode: SFTPGarbled, want: broken, fails: true},
	}
	var c Config
	for _, tt := range tests {
		c.Hosts = append(c.Hosts, HostConfig{SFTP: tt.mode, Noisy: tt.noisy})
	}
	l := startLab(t, c)
	for i, tt := range tests {
		t.Run("sftp="+string(tt.mode), func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(testContext(t), "sftp", "-F", "none", "-b", "-", "-i", l.KeyFile(),
				"-o", "UserKnownHostsFile="+l.KnownHostsFile(), AdminUser+"@"+l.Hosts[i].Addr)
			cmd.Stdin = strings.NewReader("ls /\n-mkdir /home/admin/made\nput /etc/hostname /home/admin/put\n")
			if tt.mode == SFTPChroot {
				cmd.Stdin = strings.NewReader("ls /\nput /etc/hostname /upload/put\n-ls /usr/local\n")
			}
			out, err := cmd.CombinedOutput()
			if (err != nil) != tt.fails || !regexp.MustCompile(tt.want).Match(out) {
				t.Errorf("got %v: %s\nwant %q", err, out, tt.want)
			}
		})
	}
}

func TestKnownHosts(t *testing.T) {
	needRoot(t)
	tests := []struct {
		known KnownHosts
		want  string
		fails bool
	}{
		{KnownAll, `^in\n$`, false},
		{KnownHashed, `^in\n$`, false},
		{KnownRSA, `^in\n$`, false},
		{KnownAbsent, `No .* host key is known`, true},
		{KnownChanged, `REMOTE HOST IDENTIFICATION HAS CHANGED`, true},
		{KnownRevoked, `REVOKED HOST KEY DETECTED`, true},
	}
	var c Config
	for _, tt := range tests {
		c.Hosts = append(c.Hosts, HostConfig{KnownHosts: tt.known})
	}
	l := startLab(t, c)
	for i, tt := range tests {
		t.Run("known="+string(tt.known), func(t *testing.T) {
			t.Parallel()
			check{user: PlainUser, command: "echo in", want: tt.want, fails: tt.fails}.run(t, l, l.Hosts[i])
		})
	}
	text, err := os.ReadFile(l.KnownHostsFile())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), l.Hosts[1].Addr+" ") {
		t.Error("the hashed host's address stands in known_hosts")
	}
	for _, k := range clientKeys {
		if k.passphrase != "" {
			continue // the client would ask for it
		}
		cmd := l.SSH(testContext(t), PlainUser, l.Hosts[0], "true")
		for i := range cmd.Args {
			cmd.Args[i] = strings.Replace(cmd.Args[i], l.KeyFile(), filepath.Join(filepath.Dir(l.KeyFile()), k.file), 1)
		}
		if out, err := cmd.CombinedOutput(); (err != nil) != (k.file == "id_wrong") {
			t.Errorf("%s: %v: %s", k.file, err, out)
		}
	}
}

func TestMaxStartups(t *testing.T) {
	needRoot(t)
	l := startLab(t, Config{Hosts: []HostConfig{{MaxStartups: 2}}})
	h := l.Hosts[0]
	addr := net.JoinHostPort(h.Addr, "22")
	// Two clients that never log in fill the house.
	var first []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 4)); err != nil {
			t.Fatalf("an early connection: %v", err)
		}
		first = append(first, conn)
	}
	third, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	b := make([]byte, 100)
	n, _ := third.Read(b)
	if bytes.HasPrefix(b[:n], []byte("SSH-")) {
		t.Errorf("the third connection was let in: %q", b[:n])
	}
	for _, c := range first {
		c.Close()
	}
	eventually(t, "login after the crowd has left", func() bool {
		return l.SSH(testContext(t), PlainUser, h, "true").Run() == nil
	})
}
