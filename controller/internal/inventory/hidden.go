package inventory

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"

	"github.com/gofleet/gofleet/controller/internal/inventory/jinja"
)

// Secret is a text that came from a vault and is to be shown nowhere.
type Secret struct {
	// Path leads to the value: its variable, then the keys of dictionaries and
	// the places in lists. It is empty for what a template made the value of.
	Path []string
	Text string
}

// Secrets are the texts from vaults in the variables that Evaluate was asked
// for, in no order. A value that a template made with a secret is one, and so
// is what the template made it of. Booleans and null are none.
func (h *Host) Secrets() []Secret {
	var all []Secret
	for _, found := range h.secrets {
		all = append(all, found...)
	}
	return all
}

// HasVault says whether there are vault passwords, so that values may have
// come from a vault before.
func (inv *Inventory) HasVault() bool { return !inv.files.loader.vault().Empty() }

// noteSealed notes the needed variables that stand in encrypted files and
// have no template.
func (h *Host) noteSealed(need func(string) bool) {
	note := func(name string) {
		if v, ok := h.variable(name); ok && need(name) && !magic[name] && !v.val.isDynamic() && v.val.doc.isSecret() {
			h.noteSecrets(name, secretLeaves([]string{name}, v.val))
		}
	}
	if h.lineage != nil && h.lineage.base != nil {
		for _, name := range h.lineage.base.sealed {
			note(name)
		}
	}
	for _, level := range []map[string]variable{h.own, h.extra} {
		for name, v := range level {
			if v.val.doc.isSecret() {
				note(name)
			}
		}
	}
}

func (h *Host) noteSecrets(name string, found []Secret) {
	if h.secrets == nil {
		h.secrets = map[string][]Secret{}
	}
	h.secrets[name] = found
}

// isSecret says that a document was decrypted.
func (d *document) isSecret() bool { return d != nil && d.secret }

// secretLeaves are the scalars of a value from an encrypted file that no
// template has to make.
func secretLeaves(path []string, v *value) []Secret {
	var all []Secret
	switch v.kind {
	case listKind:
		for i, item := range v.items {
			all = append(all, secretLeaves(append(path, strconv.Itoa(i)), item)...)
		}
	case mapKind:
		for _, p := range v.pairs {
			all = append(all, secretLeaves(append(path, p.name), p.val)...)
		}
	default:
		if text, ok := v.data.(string); ok && !v.unsafe && jinja.IsTemplate(text) {
			return nil
		}
		return secretScalar(path, v.goValue())
	}
	return all
}

// secretScalar is a scalar as it may be shown.
func secretScalar(path []string, x any) []Secret {
	switch x.(type) {
	case string, int, int64, float64, *big.Int:
		if text := fmt.Sprint(x); text != "" {
			return []Secret{{Path: slices.Clone(path), Text: text}}
		}
	}
	return nil
}

// add notes texts that the evaluation under way has used.
func (t *templates) add(texts ...string) {
	for _, text := range texts {
		if text != "" && !slices.Contains(t.texts, text) {
			t.texts = append(t.texts, text)
		}
	}
}
