package spec

import (
	"slices"
	"strings"
)

// Gopath is the sources of projects from before modules that a host gets.
type Gopath struct {
	Sources string `json:"sources"`        // a directory, as written; the controller resolves it
	Path    string `json:"path,omitempty"` // the GOPATH; "" is go below the deploy user's home
}

// gopath reads gofleet_gopath.
func (n *node) gopath() *Gopath {
	const example = "write {sources: ../legacy}; what is in the directory comes to src below the GOPATH"
	m, ok := n.dict([]string{"sources", "path"}, example)
	if !ok {
		return nil
	}
	before := len(n.p.errs)
	out := &Gopath{}
	if c := m["sources"]; c.null() {
		n.fail(example, "has no sources")
	} else if s, ok := c.text(example); ok {
		if out.Sources = strings.TrimSpace(s); out.Sources == "" {
			c.fail(example, "is empty")
		}
	}
	if c := m["path"]; !c.null() {
		p, ok := c.absolute()
		if ok && (slices.Contains(systemDirs, p) || strings.Contains(p, ":")) {
			c.fail("write a directory of the deploy user's, like /home/deploy/go", "%s cannot be a GOPATH", quote(p))
		}
		out.Path = p
	}
	if len(n.p.errs) > before {
		return nil
	}
	return out
}

// gopathEnv adds what the go command has to know of sources in a GOPATH to Env.
// What Env says itself stands, and so does the first place in its GOPATH; a
// GOPATH that lacks the one that the sources come to is reported.
func (p *parser) gopathEnv(s *Spec) {
	g := s.Gopath
	if g == nil {
		return
	}
	own := strings.Split(s.Env["GOPATH"], ":")
	switch {
	case g.Path == "":
		g.Path = own[0]
	case own[0] != "" && !slices.Contains(own, g.Path):
		p.contradict("gopath", "GOPATH", "drop one of them, or let GOPATH have "+g.Path+" too", "path")
		return
	}
	if s.Env == nil {
		s.Env = map[string]string{}
	}
	if _, own := s.Env["GO111MODULE"]; !own {
		s.Env["GO111MODULE"] = "auto"
	}
	if _, own := s.Env["GOPATH"]; !own && g.Path != "" {
		s.Env["GOPATH"] = g.Path
	}
}
