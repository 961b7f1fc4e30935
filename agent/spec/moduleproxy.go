package spec

import (
	"strings"
	"time"
)

// Defaults of module_proxy. No server has a module of that name.
const (
	probeModule  = "gofleet.example/probe"
	probeTimeout = 20 * time.Second
)

// moduleProxy reads fail, warn, or a dictionary.
func (n *node) moduleProxy() *ModuleProxy {
	p := &ModuleProxy{On: "fail", Module: probeModule, Timeout: probeTimeout}
	if _, isText := n.v.(string); isText {
		p.On, _ = n.choice("fail", "warn")
		return p
	}
	m, ok := n.dict([]string{"on", "module", "timeout"}, "write fail, warn, or a dictionary like {on: warn, timeout: 30s}")
	if !ok {
		return nil
	}
	if c := m["on"]; !c.null() {
		p.On, _ = c.choice("fail", "warn")
	}
	if c := m["module"]; !c.null() {
		s, _ := c.v.(string)
		if strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-._~/") != "" || !strings.Contains(s, ".") || strings.Trim(s, "/-.") != s || len(s) > 255 {
			c.fail("write the path of a module, in lower case, like corp.example/lib", "must be the path of a module, not %s", c.shown())
		}
		p.Module = s
	}
	if c := m["timeout"]; !c.null() {
		p.Timeout, _ = c.duration(10 * time.Minute)
	}
	return p
}
