package spec

import (
	"path"
	"strings"
)

// Modules is the module cache that a host gets.
type Modules struct {
	From    string   `json:"from"`              // the bundle, as written; the controller resolves it
	Private []string `json:"private,omitempty"` // patterns, as in GOPRIVATE, of modules that no checksum database knows
}

// ModulesDir is where a host has its module cache, below gofleet_root: the
// directory that GOPROXY leads to.
const ModulesDir = "modules/cache/download"

// ModulesProxy is the GOPROXY of a module cache below a root.
func ModulesProxy(root string) string {
	// In a list of proxies a comma ends one of them.
	return "file://" + strings.ReplaceAll(root, ",", "%2C") + "/" + ModulesDir
}

// modules reads gofleet_modules: the bundle, or a dictionary.
func (n *node) modules() *Modules {
	const example = `write the bundle, like "../site.bundle", or {from: ../site.bundle, private: ["git.corp.example/*"]}`
	if _, text := n.v.(string); text {
		from, ok := n.bundlePath(example)
		if !ok {
			return nil
		}
		return &Modules{From: from}
	}
	m, ok := n.dict([]string{"from", "private"}, example)
	if !ok {
		return nil
	}
	before := len(n.p.errs)
	out := &Modules{}
	if c := m["from"]; c.null() {
		n.fail(example, "has no from")
	} else {
		out.From, _ = c.bundlePath(example)
	}
	if c := m["private"]; !c.null() {
		out.Private = c.privatePatterns()
	}
	if len(n.p.errs) > before {
		return nil
	}
	return out
}

func (n *node) bundlePath(example string) (string, bool) {
	s, ok := n.text(example)
	s = strings.TrimSpace(s)
	switch {
	case !ok:
	case s == "":
		n.fail(example, "is empty")
	case strings.Contains(s, "://"):
		n.fail("a bundle is a file or a directory here; hosts that reach a mirror take its address as GOPROXY in "+n.p.o.Prefix+"env", "is a URL")
	default:
		return s, true
	}
	return "", false
}

// privatePatterns reads patterns of module paths, as package path matches them.
func (n *node) privatePatterns() []string {
	const example = `write a list of patterns, like ["git.corp.example/*"]`
	if _, text := n.v.(string); text && !n.p.o.Lenient {
		n.fail(example, "must be a list, not text")
		return nil
	}
	items, _ := n.list(example)
	var out []string
	for _, item := range items {
		s, ok := item.text(example)
		if !ok {
			continue
		}
		host, _, _ := strings.Cut(s, "/")
		_, err := path.Match(s, "")
		switch {
		case s == "" || err != nil || strings.ContainsAny(s, ", \t|"):
			item.fail(example, "%s is not one pattern of module paths", quote(s))
		case strings.Trim(host, "*") == "":
			item.fail(`name the host, like "git.corp.example/*"`, "%s is every module: none would be verified", quote(s))
		default:
			out = append(out, s)
		}
	}
	return out
}

// modulesEnv adds what the go command has to know of a module cache to Env.
// What Env says itself stands; where it says that there is another proxy, or
// says once more what is private, both places are reported.
func (p *parser) modulesEnv(s *Spec) {
	m := s.Modules
	if m == nil {
		return
	}
	proxy := ModulesProxy(s.Root)
	if own, ok := s.Env["GOPROXY"]; ok && !strings.Contains(own, proxy) {
		p.contradict("modules", "GOPROXY", "drop one of them, or let GOPROXY name the host's cache too: "+proxy+",https://…")
		return
	}
	env := map[string]string{"GOPROXY": proxy, "GOSUMDB": "sum.golang.org", "GONOPROXY": "none"}
	if len(m.Private) > 0 {
		env["GONOSUMDB"] = strings.Join(m.Private, ",")
		for _, name := range []string{"GONOSUMDB", "GOPRIVATE"} {
			if _, ok := s.Env[name]; ok {
				p.contradict("modules", name, "say what is private in one of the two places", "private")
			}
		}
	}
	if s.Env == nil {
		s.Env = map[string]string{}
	}
	for name, value := range env {
		if _, own := s.Env[name]; !own {
			s.Env[name] = value
		}
	}
}

// contradict reports a variable, or a field of it, and what Env says of name.
func (p *parser) contradict(variable, name, hint string, field ...string) {
	at := append([]string{p.o.Prefix + variable}, field...)
	(&node{p: p, path: at}).fail(hint, "contradicts %s in %senv", name, p.o.Prefix)
	(&node{p: p, path: []string{p.o.Prefix + "env", name}}).fail(hint, "contradicts %s", strings.Join(at, "."))
}
