package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/authority"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/report"
)

const (
	netrcVariable        = prefix + "netrc"
	certificatesVariable = prefix + "ca_certificates"
)

// netrcSecrets are the passwords in a host's gofleet_netrc, and the forms in
// which HTTP carries them. They are secrets whether they come from a vault or
// not, and whether the variable is right or not.
func netrcSecrets(h *inventory.Host) []string {
	var texts []string
	for _, item := range netrcItems(h) {
		entry, _ := item.(map[string]any)
		password := fmt.Sprint(entry["password"])
		if entry["password"] == nil || password == "" {
			continue
		}
		basic := fmt.Sprint(entry["login"]) + ":" + password
		texts = append(texts, password, base64.StdEncoding.EncodeToString([]byte(basic)))
	}
	return texts
}

// netrcItems is a host's gofleet_netrc as far as it is a list; what is wrong
// with it is told elsewhere.
func netrcItems(h *inventory.Host) []any {
	if _, there := h.Vars[netrcVariable]; !there {
		return nil
	}
	vars, _ := h.Evaluate(func(name string) bool { return name == netrcVariable })
	list, _ := vars[netrcVariable].([]any)
	return list
}

// plainPasswords warns of passwords that stand in plain text in the inventory.
func plainPasswords(hosts []*inventory.Host) []string {
	var warnings []string
	for _, h := range hosts {
		for i := range netrcItems(h) {
			path := []string{netrcVariable, strconv.Itoa(i), "password"}
			if h.Written(path...) == "" || fromVault(h, path) {
				continue
			}
			w := fmt.Sprintf("%s: %s[%d].password stands there in plain text: encrypt it with ansible-vault encrypt_string", h.Origin(path...), netrcVariable, i)
			if !slices.Contains(warnings, w) {
				warnings = append(warnings, w)
			}
		}
	}
	return warnings
}

// fromVault says whether the value at path came from a vault, alone or with
// what it stands in.
func fromVault(h *inventory.Host, path []string) bool {
	return slices.ContainsFunc(h.Secrets(), func(s inventory.Secret) bool {
		return len(s.Path) > 0 && len(s.Path) <= len(path) && slices.Equal(s.Path, path[:len(s.Path)])
	})
}

// readCertificates replaces what the inventory says in gofleet_ca_certificates
// by the certificates themselves. Hosts share what they name alike.
func (p *planned) readCertificates(now time.Time) error {
	if p.order.action == wire.Rollback || p.order.action == wire.Remove {
		return nil // which have no use for them
	}
	type read struct {
		pems []string
		err  *authority.Error
	}
	known := map[string]*read{}
	var found problems
	for i, h := range p.hosts {
		var pems []string
		for n, item := range p.specs[i].CACertificates {
			if !strings.Contains(item, "-----BEGIN") {
				item = resolve(item, h.Dir())
			}
			r := known[item]
			if r == nil {
				r = &read{}
				var warnings []string
				var err error
				r.pems, warnings, err = authority.Read(item, now)
				errors.As(err, &r.err)
				for _, w := range warnings {
					p.notices = append(p.notices, certificatesVariable+": "+w)
				}
				known[item] = r
			}
			if r.err != nil {
				found = append(found, report.Problem{
					Where:   h.Origin(certificatesVariable, strconv.Itoa(n)).String(),
					Message: fmt.Sprintf("%s[%d]: %s", certificatesVariable, n, r.err.Message), Hint: r.err.Hint, Hosts: []string{h.Name},
				})
			}
			for _, pem := range r.pems {
				if !slices.Contains(pems, pem) {
					pems = append(pems, pem)
				}
			}
		}
		p.specs[i].CACertificates = pems
	}
	return found.errOrNil()
}
