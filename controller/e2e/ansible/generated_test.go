//go:build linux

package ansible

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

var update = flag.Bool("update", false, "write the generated files anew")

const repository = "../../.."

// TestGenerated: the documentation of the module and of the role lists what
// package spec reads, with its defaults.
func TestGenerated(t *testing.T) {
	for file, want := range map[string]string{
		"plugins/doc_fragments/variables.py":      fragment(),
		"roles/toolchain/meta/argument_specs.yml": argumentSpecs(),
	} {
		path := filepath.Join(repository, file)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not what package spec says (%v): run go test ./controller/e2e/ansible -run Generated -update", file, err)
		}
	}
}

const fragmentHead = `# Copyright: (c) 2026, the gofleet authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Written by controller/e2e/ansible from agent/spec, where the rules are.

from __future__ import annotations


class ModuleDocFragment:
    """The options that are gofleet's variables without their prefix."""

    DOCUMENTATION = r"""
options:
`

func fragment() string {
	var b bytes.Buffer
	b.WriteString(fragmentHead)
	for _, v := range spec.Variables() {
		option{v, "  ", true}.write(&b)
	}
	b.WriteString(`"""` + "\n")
	return b.String()
}

// entry is one entry point of the role.
type entry struct {
	name, short, about string
	required           bool // gofleet_go_version
	own                []spec.Variable
}

var entries = []entry{
	{name: "main", short: "Install Go", required: true,
		about: "Brings Go, the deploy user and the environment to what the gofleet_ variables say, as gofleet apply does."},
	{name: "audit", short: "Audit preconditions and drift",
		about: "Fails where a precondition is not met or something was altered. Changes nothing.",
		own:   []spec.Variable{{Name: "toolchain_deep", Type: "bool", Default: false, Help: "hash every file of the toolchain"}}},
	{name: "rollback", short: "Go back to the toolchain before",
		about: "Points the link back to the toolchain that was current before, and rewrites the environment.",
		own:   []spec.Variable{{Name: "toolchain_version", Type: "str", Help: "the version to go back to; it must be on the host"}}},
	{name: "remove", short: "Remove a toolchain, or everything",
		about: "Removes one version, which must not be the current one, or without a version all that gofleet installed.",
		own:   []spec.Variable{{Name: "toolchain_version", Type: "str", Help: "the version to remove; without one, everything goes"}}},
}

func argumentSpecs() string {
	var b bytes.Buffer
	b.WriteString("---\n# Written by controller/e2e/ansible from agent/spec, where the defaults and rules are.\nargument_specs:\n")
	for _, e := range entries {
		fmt.Fprintf(&b, "  %s:\n    short_description: %s\n    description:\n      - %s\n    options:\n", e.name, e.short, e.about)
		for _, v := range e.own {
			option{v, "      ", true}.write(&b)
		}
		for _, v := range spec.Variables() {
			v.Name, v.Required = "gofleet_"+v.Name, v.Required && e.required
			option{v, "      ", false}.write(&b)
		}
	}
	return b.String()
}

// option writes one variable as YAML. A role's argument_specs are not only
// read but checked by Ansible, which must not refuse what package spec takes:
// null, above all. So a default or choice that null may stand against is told
// in words there.
type option struct {
	spec.Variable
	indent string
	module bool
}

func (o option) write(b *bytes.Buffer) {
	line := func(format string, args ...any) { fmt.Fprintf(b, o.indent+format+"\n", args...) }
	line("%s:", o.Name)
	line("  description:")
	help := o.Help
	if o.module {
		help = strings.ReplaceAll(help, "gofleet_", "")
	}
	line("    - %s", quoted(sentence(help)))
	keep := o.module || o.Type == "str" || o.Type == "path"
	if o.module && o.Name == "go_version" {
		line("    - Required by M(gofleet.golang.toolchain), unless it removes or rolls back.")
	}
	if o.Default != nil && (!keep || !o.module && o.Choices != nil) {
		line("    - %s", quoted("Default "+value(o.Default)+"."))
	}
	if o.Choices != nil && !o.module {
		line("    - %s", quoted("One of "+strings.Join(o.Choices, ", ")+"."))
	}
	line("  type: %s", o.Type)
	if o.Elements != "" {
		line("  elements: %s", o.Elements)
	}
	if o.Choices != nil && o.module {
		line("  choices: %s", value(o.Choices))
	}
	if o.Default != nil && keep && (o.module || o.Choices == nil) {
		line("  default: %s", value(o.Default))
	}
	if o.Secret && !o.module {
		line("  no_log: true")
	}
	if o.Required && o.Name != "go_version" {
		line("  required: true")
	}
	if len(o.Fields) > 0 && !slices.Contains([]string{o.Type, o.Elements}, "raw") {
		line("  %s:", map[bool]string{true: "suboptions", false: "options"}[o.module])
		for _, f := range o.Fields {
			option{f, o.indent + "    ", o.module}.write(b)
		}
	}
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

func quoted(s string) string {
	if strings.ContainsAny(s, `:"'#{}[]&*!|>%@`) {
		return value(s)
	}
	return s
}

// value is v as JSON, which YAML reads; plain words stand without quotes.
func value(v any) string {
	const plain = "abcdefghijklmnopqrstuvwxyz./_"
	if s, ok := v.(string); ok && s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // of a value in the source
	}
	return strings.TrimSpace(b.String())
}
