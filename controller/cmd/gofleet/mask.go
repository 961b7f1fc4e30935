package main

import (
	"errors"
	"slices"

	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// maskOf hides what came from a vault, and the passwords of gofleet_netrc, in
// all that a run on the host says. It is nil where the inventory has neither.
func maskOf(inv *inventory.Inventory, h *inventory.Host) *fleet.Mask {
	secrets, texts := h.Secrets(), netrcSecrets(h)
	if len(secrets) == 0 && !inv.HasVault() {
		if len(texts) == 0 {
			return nil
		}
		return fleet.NewMask(texts, nil)
	}
	hidden := []string{}
	for _, one := range secrets {
		texts = append(texts, one.Text)
		if len(one.Path) == 2 && slices.Contains([]string{prefix + "env", prefix + "environment"}, one.Path[0]) {
			hidden = append(hidden, one.Path[1])
		}
	}
	return fleet.NewMask(texts, hidden)
}

// maskOfAll hides the same of all hosts, in what is said about no host or
// before the first is contacted.
func maskOfAll(hosts []*inventory.Host) *fleet.Mask {
	seen := map[string]bool{}
	var texts []string
	add := func(text string) {
		if !seen[text] {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	for _, h := range hosts {
		for _, one := range h.Secrets() {
			add(one.Text)
		}
		for _, text := range netrcSecrets(h) {
			add(text)
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return fleet.NewMask(texts, nil)
}

// maskError is err without the secrets of any of the hosts.
func maskError(err error, hosts []*inventory.Host) error {
	var code exitError
	mask := maskOfAll(hosts)
	if err == nil || mask == nil || errors.As(err, &code) {
		return err
	}
	var stopped stoppedError
	if errors.As(err, &stopped) {
		return stoppedError{maskError(stopped.error, hosts)}
	}
	var out problems
	for _, p := range problemsOf(err) {
		out = append(out, report.Problem{Where: p.Where, Message: mask.Text(p.Message), Hint: mask.Text(p.Hint), Hosts: p.Hosts})
	}
	return out
}
