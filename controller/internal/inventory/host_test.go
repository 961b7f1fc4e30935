package inventory

import (
	"fmt"
	"math/big"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var hostFiles = map[string]string{
	"hosts.yaml": `all:
  vars:
    plain: 1.20
    gofleet_preconditions: &pre
      memory: {min: 2GB, recommended: 08}
      commands:
        - gcc
        - name: git
          min: "2.30"
  children:
    web:
      hosts:
        w1:
          over: inline
          ansible_port: 2200
        w2:
      vars:
        copied:
          <<: *pre
          memory:
            min: 3GB
        alias: *pre
`,
	"group_vars/web.yml":    "over: group\nfile:\n\n  deep: [1, {x: 0x10}]\n",
	"group_vars/all/a.json": "{\n \"j\": {\n  \"n\": 1e3\n }\n}\n",
	"host_vars/w1.yml":      "\nover: 1_0\n",
	"extra.yml":             "# c\nfrom_extra: yes\n",
}

// TestOrigin: every kind of place knows its file and line, and a scalar as it
// was written.
func TestOrigin(t *testing.T) {
	inv := mustLoad(t, hostFiles, Options{ExtraVars: []string{"k=v over2='a b'", "@extra.yml", "{\"y\":\n [0755]}"}})
	h, err := inv.Host("w1")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, pos, raw string }{
		{"", "hosts.yaml:13", ""},
		{"nowhere", "hosts.yaml:13", ""},
		{"plain", "hosts.yaml:3", "1.20"},
		{"gofleet_preconditions", "hosts.yaml:4", ""},
		{"gofleet_preconditions memory", "hosts.yaml:5", ""},
		{"gofleet_preconditions memory min", "hosts.yaml:5", "2GB"},
		{"gofleet_preconditions memory recommended", "hosts.yaml:5", "08"},
		{"gofleet_preconditions memory nowhere deeper", "hosts.yaml:5", ""},
		{"gofleet_preconditions commands 0", "hosts.yaml:7", "gcc"},
		{"gofleet_preconditions commands 1 min", "hosts.yaml:9", "2.30"},
		{"gofleet_preconditions commands 7", "hosts.yaml:6", ""},
		{"copied commands 1 name", "hosts.yaml:8", "git"},
		{"copied memory min", "hosts.yaml:21", "3GB"},
		{"alias memory min", "hosts.yaml:5", "2GB"},
		{"alias", "hosts.yaml:22", ""},
		{"ansible_port", "hosts.yaml:15", "2200"},
		{"over", "host_vars/w1.yml:2", "1_0"},
		{"file deep 1 x", "group_vars/web.yml:4", "0x10"},
		{"j n", "group_vars/all/a.json:3", "1e3"},
		{"k", "-e (number 1)", "v"},
		{"over2", "-e (number 1)", "a b"},
		{"from_extra", "extra.yml:2", "yes"},
		{"y 0", "-e (number 3):2", "0755"},
	}
	for _, test := range tests {
		path := strings.Fields(test.path)
		if got := h.Origin(path...).String(); got != test.pos {
			t.Errorf("Origin(%s) is %s, want %s", test.path, got, test.pos)
		}
		if got := h.Raw(path...); got != test.raw {
			t.Errorf("Raw(%s) is %q, want %q", test.path, got, test.raw)
		}
	}
}

// TestVars: what Go code sees.
func TestVars(t *testing.T) {
	inv := mustLoad(t, map[string]string{"hosts.yaml": `
all:
  hosts:
    h:
      i: 0644
      b: yes
      n:
      f: 1.5
      s: "{{ x }}"
      big: 99999999999999999999
      d: 2020-01-02
      m: {1: a, yes: b, x: {y: [1, two]}}
      v: !vault |
        $ANSIBLE_VAULT;1.1;AES256
        6162
      inventory_dir: /magic
`}, Options{ExtraVars: []string{"e=1"}})
	h, err := inv.Host("h")
	if err != nil {
		t.Fatal(err)
	}
	big, _ := new(big.Int).SetString("99999999999999999999", 10)
	want := map[string]any{
		"i": int64(420), "b": true, "n": nil, "f": 1.5, "s": "{{ x }}", "big": big, "d": "2020-01-02", "e": "1",
		"m": map[string]any{"1": "b", "x": map[string]any{"y": []any{int64(1), "two"}}},
		"v": Vault{"$ANSIBLE_VAULT;1.1;AES256\n6162\n"},
	}
	if !reflect.DeepEqual(h.Vars, want) {
		t.Errorf("Vars are %v\nwant     %v", h.Vars, want)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, h.Vars); strings.Contains(s, "6162") {
			t.Errorf("%s shows the vault value: %s", format, s)
		}
	}
	if raw := h.Raw("v"); raw != "" {
		t.Errorf("Raw shows the vault value: %q", raw)
	}
	if !reflect.DeepEqual(h.Groups, []string{"ungrouped"}) {
		t.Errorf("Groups are %v", h.Groups)
	}
	if h.Unsafe("s") {
		t.Error("a template is unsafe")
	}
}

// TestShared: hosts of the same groups share what they have in common, and
// own variables do not reach the others.
func TestShared(t *testing.T) {
	inv := mustLoad(t, hostFiles, Options{})
	hosts, err := inv.Hosts("web", "")
	if err != nil {
		t.Fatal(err)
	}
	if hosts[0].Vars["over"] != int64(10) || hosts[1].Vars["over"] != "group" {
		t.Errorf("over is %v and %v", hosts[0].Vars["over"], hosts[1].Vars["over"])
	}
	if _, ok := hosts[1].Vars["ansible_port"]; ok {
		t.Error("w2 has the port of w1")
	}
	a, b := reflect.ValueOf(hosts[0].Vars["alias"]), reflect.ValueOf(hosts[1].Vars["alias"])
	if a.Pointer() != b.Pointer() {
		t.Error("each host has its own copy of a group's value")
	}
}

// TestDir is inventory_dir.
func TestDir(t *testing.T) {
	dir := corpusCase{files: map[string]string{
		"sub/a.yaml": "all: {hosts: {a: , both: }}\n", "b.yaml": "all: {hosts: {b: , both: }}\n",
	}}.write(t)
	inv, err := Load(t.Context(), Options{Sources: []string{"sub", "b.yaml", "c,"}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": filepath.Join(dir, "sub"), "both": filepath.Join(dir, "sub"), "b": dir, "c": "", "localhost": ""} {
		h, err := inv.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		if h.Dir() != want {
			t.Errorf("Dir of %s is %q, want %q", name, h.Dir(), want)
		}
	}
}

// TestImplicitLocalhost: this machine needs no entry, has the variables of
// all, and is not one of all.
func TestImplicitLocalhost(t *testing.T) {
	inv := mustLoad(t, map[string]string{"hosts.yaml": "all: {hosts: {a: }, vars: {x: 1}}\n"}, Options{})
	hosts, err := inv.Hosts("localhost", "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"x": int64(1), "ansible_connection": "local"}
	if len(hosts) != 1 || !reflect.DeepEqual(hosts[0].Vars, want) {
		t.Errorf("localhost is %v", hosts)
	}
	if all, _ := inv.Hosts("all", ""); len(all) != 1 || all[0].Name != "a" {
		t.Errorf("all is %v", all)
	}
}

// TestOrder: hosts come in the order of the inventory, however often asked.
func TestOrder(t *testing.T) {
	files := map[string]string{"hosts.yaml": "z: {hosts: {c: , a: }, children: {y: {hosts: {b: , e: }, children: {x: {hosts: {d: }}, w: {hosts: {g: , f: }}}}}}\n"}
	for range 20 {
		inv := mustLoad(t, files, Options{})
		hosts, err := inv.Hosts("", "")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, h := range hosts {
			names = append(names, h.Name)
		}
		if got := strings.Join(names, " "); got != "c a b e d g f" {
			t.Fatalf("hosts are %s", got)
		}
	}
}
