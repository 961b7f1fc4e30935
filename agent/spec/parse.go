package spec

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Defaults that other packages compare with.
const (
	DefaultRoot     = "/usr/local/lib/gofleet"
	DefaultLink     = "/usr/local/go"
	DefaultArchives = "../archives"
	DefaultShell    = "/bin/bash"
	DefaultTimeout  = time.Minute // of a command in gofleet_verify
)

// Options say where variables come from.
type Options struct {
	// Prefix is "gofleet_" for an inventory, whose other variables are none of
	// our business, or "" for a module, where every name must be known.
	Prefix string
	// Required: go_version must be there.
	Required bool
	// Raw gives the scalar at a path as it was written, "1.20", or "". It may be
	// nil.
	Raw func(path ...string) string
	// Evaluated: templates have been evaluated, and a "{{" left is text.
	Evaluated bool
	// Lenient takes what templates and module arguments turn values into: "5"
	// is 5, "a,b" is a list, text with "{{" is text, empty text is not set.
	Lenient bool
}

// Parse turns variables into a valid Spec. The values are what YAML or JSON
// gives: nil, bool, int64, float64, string, []any, map[string]any. A non-nil
// error is Errors, with everything that is wrong.
func Parse(vars map[string]any, o Options) (*Spec, error) {
	p := &parser{o: o}
	s := defaults()
	root := &node{p: p}
	for name, v := range vars {
		bare, ours := strings.CutPrefix(name, o.Prefix)
		if !ours || o.Prefix == "" && strings.HasPrefix(name, "_ansible_") {
			continue
		}
		n := root.child(name, v)
		at := 0
		for at < len(readers) && readers[at].name != bare {
			at++
		}
		switch {
		case at == len(readers):
			p.unknown(n, bare)
		case v == nil || o.Lenient && v == "":
			// Not set: the default stands.
		case !o.Lenient && !o.Evaluated && n.templated():
		default:
			readers[at].read(n, s)
		}
	}
	version := root.child(o.Prefix+"go_version", vars[o.Prefix+"go_version"])
	if o.Required && (version.v == nil || o.Lenient && version.v == "") {
		version.fail(`set it, like "1.26.8"`, "is required")
	}
	p.checkPaths(s)
	p.checkUsers(s)
	p.checkDirectories(s)
	meetCgo(s, given(vars, o.Prefix+"preconditions", "cgo"), given(vars, o.Prefix+"verify", "level"))
	p.cacheEnv(s)
	p.environmentValues(s)
	p.modulesEnv(s)
	p.gopathEnv(s)
	if len(p.errs) > 0 {
		p.errs.sort()
		return nil, p.errs
	}
	return s, nil
}

func defaults() *Spec {
	return &Spec{
		Archives: DefaultArchives,
		Root:     DefaultRoot,
		Link:     DefaultLink,
		Keep:     2,
		Env:      map[string]string{"GOTOOLCHAIN": "local"},

		EnvironmentFiles: []string{EnvironmentProfile},

		Verify:        Verify{Level: VerifyQuick},
		Preconditions: defaultPreconditions(),
	}
}

// readers has one function for each variable. Each sets what it can read and
// reports the rest.
var readers = []struct {
	name string
	read func(n *node, s *Spec)
}{
	{"go_version", func(n *node, s *Spec) { set(n, &s.GoVersion, (*node).goVersion) }},
	{"archives", func(n *node, s *Spec) { set(n, &s.Archives, (*node).archives) }},
	{"trusted_keys", func(n *node, s *Spec) { s.TrustedKeys = n.trustedKeys() }},
	{"sha256", func(n *node, s *Spec) { s.SHA256 = n.pins() }},
	{"root", func(n *node, s *Spec) { set(n, &s.Root, (*node).place) }},
	{"link", func(n *node, s *Spec) { set(n, &s.Link, (*node).place) }},
	{"keep", func(n *node, s *Spec) {
		if v, ok := n.integer(0, 100); ok {
			s.Keep = int(v)
		}
	}},
	{"env", func(n *node, s *Spec) { s.Env = n.goEnv(s.Env) }},
	{"environment", func(n *node, s *Spec) { s.Environment = n.environment() }},
	{"environment_files", func(n *node, s *Spec) { set(n, &s.EnvironmentFiles, (*node).environmentFiles) }},
	{"verify", func(n *node, s *Spec) { n.verify(&s.Verify) }},
	{"user", func(n *node, s *Spec) { s.User = n.user() }},
	{"users", func(n *node, s *Spec) { s.Users = n.users() }},
	{"directories", func(n *node, s *Spec) { s.Directories = n.directories() }},
	{"preconditions", func(n *node, s *Spec) { n.preconditions(&s.Preconditions) }},
	{"slo", func(n *node, s *Spec) { s.SLO = n.slo() }},
	{"cache", func(n *node, s *Spec) { s.Cache = n.cache() }},
	{"uniform", func(n *node, s *Spec) { s.Uniform = n.uniform() }},
	{"ca_certificates", func(n *node, s *Spec) { s.CACertificates = n.caCertificates() }},
	{"packages", func(n *node, s *Spec) { s.Packages = n.packages() }},
	{"netrc", func(n *node, s *Spec) { s.Netrc = n.netrc() }},
	{"modules", func(n *node, s *Spec) { s.Modules = n.modules() }},
	{"gopath", func(n *node, s *Spec) { s.Gopath = n.gopath() }},
	{"time", func(n *node, s *Spec) { s.Time = n.time() }},
	{"services", func(n *node, s *Spec) { s.Services = n.services() }},
	{"site_seed", func(n *node, s *Spec) { s.SiteSeed = n.siteSeed() }},
	{"firewall", func(n *node, s *Spec) { s.Firewall = n.firewall() }},
}

// reserved are the names of later parts.
var reserved = []string{
	"policy",
}

// unknown reports a variable that has no reader.
func (p *parser) unknown(n *node, bare string) {
	if slices.Contains(reserved, bare) {
		n.fail("remove it; the name is reserved for a later gofleet", "is not yet supported by this gofleet")
		return
	}
	names := make([]string, len(readers))
	for i, r := range readers {
		names[i] = r.name
	}
	slices.Sort(names)
	hint := "docs/variables.md lists every name"
	if near := Nearest(strings.TrimPrefix(strings.ToLower(bare), "gofleet_"), names); near != "" {
		hint = "did you mean " + p.o.Prefix + near + "?"
	}
	n.fail(hint, "is not a variable of gofleet")
}

// archives reads a directory, a bundle or an http(s) URL.
func (n *node) archives() (string, bool) {
	const example = `write a directory, a bundle or an http(s) URL, like "../archives"`
	s, ok := n.text(example)
	if !ok {
		return "", false
	}
	s = strings.TrimSpace(s)
	if s == "" {
		n.fail(example, "is empty")
		return "", false
	}
	scheme, rest, isURL := strings.Cut(s, "://")
	if !isURL {
		return s, true
	}
	host, _, _ := strings.Cut(rest, "/")
	switch {
	case !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
		n.fail(example, "%s is not a scheme that gofleet reads archives by", quote(scheme+"://"))
	case strings.Contains(host, "@"):
		n.fail("serve the archives without a password; they are public files, and gofleet verifies them",
			"has a user or password in its URL, which would show in reports")
	case host == "" || strings.ContainsAny(rest, " \"<>\\^`{|}"):
		n.fail(example, "is not a URL")
	default:
		return s, true
	}
	return "", false
}

// trustedKeys reads a list of keys. Which of them are files, and whether those
// are there, is for who reads bundles.
func (n *node) trustedKeys() []string {
	const example = `write a list of minisign public keys or of files with one, like ["RWQf6LRC…", keys/build.pub]`
	if _, text := n.v.(string); text && !n.p.o.Lenient {
		n.fail(example, "must be a list, not text")
		return nil
	}
	items, _ := n.list(example)
	var keys []string
	for _, item := range items {
		key, ok := item.text(example)
		switch key = strings.TrimSpace(key); {
		case !ok:
		case key == "":
			item.fail(example, "is empty")
		default:
			keys = append(keys, key)
		}
	}
	return keys
}

// pins reads gofleet_sha256.
func (n *node) pins() map[Platform]string {
	const example = `write it like {linux-amd64: "979694c2c25c73…"}`
	m, ok := n.v.(map[string]any)
	if !ok {
		n.fail(example, "must be a dictionary of platform and sha256, not %s", kind(n.v))
		return nil
	}
	out := make(map[Platform]string, len(m))
	spelled := make(map[Platform]string, len(m))
	for _, key := range sortedKeys(m) {
		c := n.child(key, m[key])
		platform, hint, err := knownPlatform(key)
		if err != nil {
			c.fail(hint, "%s", err)
			continue
		}
		if before, twice := spelled[platform]; twice {
			c.fail("keep one of them", "is the same platform as %s", quote(before))
			continue
		}
		spelled[platform] = key
		sum, isText := c.v.(string)
		sum = strings.ToLower(strings.TrimSpace(sum))
		switch {
		case c.v == nil: // no pin for this platform
		case !isText:
			c.fail("quote it", "must be a sha256 in quotes, not %s", kind(c.v))
		case len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "":
			c.fail("a sha256 is 64 hexadecimal digits", "%s is not a sha256", quote(sum))
		default:
			out[platform] = sum
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// knownPlatform reads a platform that Go has Linux archives for.
func knownPlatform(s string) (p Platform, hint string, err error) {
	p, err = ParsePlatform(s)
	if err != nil {
		return p, "", err
	}
	if p.OS == "linux" && slices.Contains(archiveArchs, p.Arch) {
		return p, "", nil
	}
	names := make([]string, len(archiveArchs))
	for i, a := range archiveArchs {
		names[i] = Platform{"linux", a}.Dashed()
	}
	hint = "known: " + strings.Join(names, ", ")
	if near := Nearest(p.Dashed(), names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return p, hint, fmt.Errorf("%s is not a platform that gofleet installs Go on", quote(s))
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// verify reads gofleet_verify into v, which has the defaults.
func (n *node) verify(v *Verify) {
	const example = "write it like {level: build, commands: [{command: [go, version]}]}"
	m, ok := n.dict([]string{"level", "commands"}, example)
	if !ok {
		return
	}
	if c := m["level"]; !c.null() {
		if level, ok := c.choice(VerifyQuick, VerifyBuild, VerifyCgo); ok {
			v.Level = level
		}
	}
	if c := m["commands"]; !c.null() {
		if _, text := c.v.(string); text {
			c.fail(example, "must be a list, not text")
			return
		}
		items, _ := c.list(example)
		for _, item := range items {
			if cmd, ok := item.command(); ok {
				v.Commands = append(v.Commands, cmd)
			}
		}
	}
}

// command reads one command of gofleet_verify.
func (n *node) command() (Command, bool) {
	const example = "write it like {command: [go, test, std], user: deploy, timeout: 5m}"
	cmd := Command{Timeout: DefaultTimeout}
	m, ok := n.dict([]string{"command", "user", "chdir", "timeout", "retries", "rc"}, example)
	if !ok {
		return cmd, false
	}
	before := len(n.p.errs)
	argv := m["command"]
	if argv.null() {
		n.fail(example, "has no command")
		return cmd, false
	}
	cmd.Command = argv.argv()
	if c := m["user"]; !c.null() {
		cmd.User, _ = c.accountName("user")
	}
	if c := m["chdir"]; !c.null() {
		cmd.Chdir, _ = c.absolute()
	}
	if c := m["timeout"]; !c.null() {
		cmd.Timeout, _ = c.duration(24 * time.Hour)
	}
	if c := m["retries"]; !c.null() {
		i, _ := c.integer(0, 100)
		cmd.Retries = int(i)
	}
	if c := m["rc"]; !c.null() {
		i, _ := c.integer(0, 255)
		cmd.RC = int(i)
	}
	return cmd, len(n.p.errs) == before
}

// argv reads a program and its arguments. No shell will see them.
func (n *node) argv() []string {
	const example = "write a list, like [go, vet, ./...]; no shell reads it"
	items, isList := n.v.([]any)
	if !isList || len(items) == 0 {
		n.fail(example, "must be a list of a program and its arguments, not %s", n.shown())
		return nil
	}
	var out []string
	for i, item := range items {
		arg, ok := n.child(itoa(i), item).asText()
		if ok {
			out = append(out, arg)
		}
	}
	if len(out) != len(items) {
		return nil
	}
	if out[0] == "" || strings.Contains(out[0], "/") && !strings.HasPrefix(out[0], "/") || strings.HasPrefix(out[0], "-") {
		n.child("0", out[0]).fail("write a name that is on the PATH, or an absolute path", "%s is not a program", quote(out[0]))
		return nil
	}
	return out
}
