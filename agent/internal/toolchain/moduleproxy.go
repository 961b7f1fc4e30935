package toolchain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// ProbeProxy asks each http(s) server of GOPROXY for one module, as v.As with
// that user's credentials, and gives the check module_proxy: what is wrong,
// without any secret. goroot is the toolchain that asks; where it is "", curl
// does. It works below parent, in a directory that is gone afterwards.
func (v *Verification) ProbeProxy(ctx context.Context, parent, goroot string, s *spec.Spec) wire.Check {
	level := wire.Fail
	if s.Preconditions.ModuleProxy.On == "warn" {
		level = wire.Warn
	}
	c := wire.Check{Name: "module_proxy", Wanted: "the servers of GOPROXY answer"}
	result := func(status wire.CheckStatus, actual, hint string) wire.Check {
		c.Status, c.Actual, c.Hint = status, actual, hint
		return c
	}
	if goroot == "" && hostcmd.Find("curl") == "" {
		return result(wire.Warn, "not judged: there is neither Go nor curl", "it is judged when Go is installed")
	}
	r, err := v.newRunnerIn(parent, goroot)
	if err != nil {
		return result(level, "not judged: "+err.Error(), "")
	}
	defer r.close()
	p := &proxyProbe{runner: r, s: s, home: os.Getenv("HOME")}
	if v.As != nil {
		p.home = v.As.Home
	}
	servers, err := p.servers(ctx)
	switch {
	case err != nil:
		return result(level, "not judged: "+p.clean(err.Error()), "run go env GOPROXY on the host")
	case len(servers) == 0:
		return result(wire.Warn, "GOPROXY names no http(s) server", "set GOPROXY in gofleet_env, or leave module_proxy out")
	}
	for i, server := range servers {
		if trouble, hint := p.ask(ctx, server); trouble != "" {
			return result(level, withoutUser(server)+": "+trouble, hint)
		}
		servers[i] = withoutUser(server)
	}
	return result(wire.Pass, strings.Join(servers, ", ")+" answers", "")
}

// proxyProbe asks servers as one user.
type proxyProbe struct {
	*runner
	s    *spec.Spec
	home string
}

// servers are the http(s) servers of GOPROXY: the inventory's, or what go env
// tells the user.
func (p *proxyProbe) servers(ctx context.Context) ([]string, error) {
	list, given := p.s.Env["GOPROXY"]
	if !given && p.goroot != "" {
		cmd := p.toolCommand("env", "GOPROXY")
		cmd.env = slices.DeleteFunc(p.goEnv(""), func(e string) bool { return strings.HasPrefix(e, "GOPROXY=") })
		out, err := p.run(ctx, cmd)
		if err != nil {
			return nil, err
		}
		list = strings.TrimSpace(out)
	}
	servers := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '|' })
	return slices.DeleteFunc(servers, func(s string) bool {
		return !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://")
	}), nil
}

// reaching are the variables of gofleet_environment that say how programs
// reach servers.
var reaching = []string{
	"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC",
}

func (p *proxyProbe) reach() []string {
	var env []string
	for _, name := range reaching {
		if v, set := p.s.Environment[name]; set {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// goEnv is the environment of the go command: that of a verification, which
// leaves nothing in a home, with the user's settings and credentials.
func (p *proxyProbe) goEnv(server string) []string {
	env := append(p.env(),
		"GOENV="+filepath.Join(p.home, ".config/go/env"), "NETRC="+filepath.Join(p.home, ".netrc"),
		"GOFLAGS=-mod=mod", "GONOPROXY=none", "GOPROXY="+server)
	for _, name := range []string{"GOAUTH", "GOINSECURE"} {
		if v, set := p.s.Env[name]; set {
			env = append(env, name+"="+v)
		}
	}
	return append(env, p.reach()...)
}

// ask asks one server, and says what is wrong.
func (p *proxyProbe) ask(ctx context.Context, server string) (trouble, hint string) {
	want := p.s.Preconditions.ModuleProxy
	var text, code string
	cmd := p.toolCommand("list", "-m", want.Module+"@latest")
	if p.goroot != "" {
		cmd.env, cmd.timeout = p.goEnv(server), want.Timeout
	} else {
		cmd = &command{
			argv: []string{hostcmd.Find("curl"), "-sSn", "-o", "/dev/null", "-w", "%{http_code}", "--", strings.TrimSuffix(server, "/") + "/" + want.Module + "/@v/list"},
			env:  append([]string{"PATH=" + hostcmd.Path, "LC_ALL=C", "HOME=" + p.home}, p.reach()...), dir: p.work, timeout: want.Timeout, as: p.as,
		}
	}
	out, err := p.run(ctx, cmd)
	if err != nil {
		text, _, _ = strings.Cut(err.Error(), "server response:") // whose words are the server's own
		code = statusIn(text)
	} else if p.goroot == "" {
		code = out
	}
	switch {
	case err == nil && p.goroot != "", code == "200", code == "404", code == "410": // it answers, and has no such module
		return "", ""
	case code != "":
		return answered(code, server)
	}
	for _, k := range failures {
		if slices.ContainsFunc(k.says, func(s string) bool { return strings.Contains(text, s) }) {
			return k.trouble, k.hint
		}
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return p.clean(lines[len(lines)-1]), "ask the server by hand, as the deploy user: curl -nv " + withoutUser(server)
}

// failures are what go says when there is no answer, and curl's exit codes. The
// first that fits names it.
var failures = []struct {
	trouble, hint string
	says          []string
}{
	{"its certificate is signed by an unknown authority", "put the authority's certificate into gofleet_ca_certificates",
		[]string{"signed by unknown authority", "unable to get local issuer", "self-signed certificate", "self signed certificate"}},
	{"its certificate is not good: expired, or for another name", "look at it: openssl s_client -connect HOST:PORT",
		[]string{"x509: ", "exit code 60 instead", "exit code 51 instead"}},
	{"TLS fails", "look whether the server speaks HTTPS on that port", []string{"tls: ", "HTTP response to HTTPS client", "exit code 35 instead"}},
	{"DNS knows no such name", "correct GOPROXY, or the host's name servers", []string{"no such host", "server misbehaving", "lookup ", "exit code 6 instead"}},
	{"the connection is refused", "look whether the server runs, and on that port", []string{"connection refused", "exit code 7 instead"}},
	{"there is no way to it", "look at routes and firewalls between the two", []string{"no route to host", "network is unreachable"}},
	{"it does not answer in time", "look at the server and at firewalls between the two, or raise gofleet_preconditions.module_proxy.timeout",
		[]string{"took longer than", "i/o timeout", "deadline exceeded", "Timeout", "exit code 28 instead"}},
}

// answered says what an HTTP status means here.
func answered(code, server string) (trouble, hint string) {
	switch code {
	case "401":
		if strings.HasPrefix(server, "http://") {
			return "401, it wants credentials", "go sends those of .netrc over https only: serve it with HTTPS"
		}
		return "401, it does not accept the credentials, or got none", "correct gofleet_netrc: the machine is the host of the URL, with its port"
	case "403":
		return "403, it knows the login and refuses it", "let the login read modules there"
	case "407":
		return "407, an HTTP proxy in between wants credentials", "correct HTTPS_PROXY or NO_PROXY in gofleet_environment"
	}
	if code[0] == '5' {
		return code + ", the server fails", "look at its log"
	}
	return code + ", which is no answer of a GOPROXY", "correct GOPROXY"
}

// statusIn finds the status in go's "reading https://…: 403 Forbidden".
func statusIn(text string) string {
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, ": ")
		if !ok {
			return ""
		}
		rest = after
		if len(rest) > 3 && rest[3] == ' ' && rest[0] >= '1' && rest[0] <= '5' && strings.Trim(rest[:3], "0123456789") == "" {
			return rest[:3]
		}
	}
}

// clean is a line of a program's words without control characters, passwords
// and the user part of URLs.
func (p *proxyProbe) clean(text string) string {
	for _, e := range p.s.Netrc {
		text = strings.ReplaceAll(text, e.Password, "********")
	}
	words := strings.Fields(text)
	for i, w := range words {
		words[i] = withoutUser(w)
	}
	return printable(strings.Join(words, " "), 200)
}

// withoutUser takes the user part out of a URL.
func withoutUser(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	host, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(host, "@"); i >= 0 {
		return scheme + "://" + strings.TrimSuffix(fmt.Sprintf("%s/%s", host[i+1:], path), "/")
	}
	return url
}
