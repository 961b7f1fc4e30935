package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeInventory is an ansible-inventory that notes how it was called.
const fakeInventory = `#!/bin/sh
printf '%s\n' "$*" "vars plugins: $ANSIBLE_VARS_ENABLED" > called
cat <<'END'
{"_meta": {"hostvars": {"h1": {"a": 1, "cloud": "x"}, "new": {"b": [1]}}},
 "all": {"children": ["ungrouped", "web", "made"], "vars": {"v": 2}},
 "web": {"hosts": ["h1"], "children": ["below"], "vars": {"w": "same"}},
 "below": {"hosts": ["h1"]},
 "made": {"hosts": ["new", "h1"], "vars": {"ansible_group_priority": 7}}}
END
`

// TestPlugin: what only Ansible can read is read by its ansible-inventory,
// behind the sources before it; what is there already keeps its place.
func TestPlugin(t *testing.T) {
	dir := corpusCase{files: map[string]string{
		"inv/1.yaml":    "web: {hosts: {h1: {a: 1}}, vars: {w: same}}\nall: {vars: {v: 1}}\n",
		"inv/2.yaml":    "plugin: acme.cloud.hosts\nregions: [eu]\n",
		"inv/3.yaml":    "web: {hosts: {h1: {cloud: later}}}\n",
		"vp/c.yaml":     "plugin: ansible.builtin.constructed\nuse_vars_plugins: true\n",
		"tool":          fakeInventory,
		"broken":        "#!/bin/sh\necho no such plugin >&2\nexit 4\n",
		"garbage":       "#!/bin/sh\necho what\n",
		"config":        "plugin: x\n",
		"number.yml":    "plugin: 5\n",
		"group_vars/x":  "",
		"enabled/e.yml": "plugin: acme\n",
	}}.write(t)
	o := Options{Dir: dir, Sources: []string{"inv"}, AnsibleInventory: filepath.Join(dir, "tool"),
		Env: os.Environ(), ExtraVars: []string{"k=v"}}
	inv, err := Load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	called, err := os.ReadFile(filepath.Join(dir, "called"))
	if err != nil {
		t.Fatal(err)
	}
	want := "--list --export -i " + dir + "/inv/1.yaml -i " + dir + "/inv/2.yaml -e k=v\nvars plugins: \n"
	if string(called) != want {
		t.Errorf("called with %q, want %q", called, want)
	}
	h, err := inv.Host("h1")
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]string{"a": "inv/1.yaml:1", "w": "inv/1.yaml:1", "cloud": "inv/3.yaml:1", "v": "inv/2.yaml (acme.cloud.hosts):2"} {
		if p := h.Origin(name).String(); p != at {
			t.Errorf("%s comes from %s, want %s", name, p, at)
		}
	}
	graph, err := inv.GraphText("", false)
	if want := "@all:\n  |--@ungrouped:\n  |--@web:\n  |  |--@below:\n  |  |  |--h1\n  |  |--h1\n  |--@made:\n  |  |--new\n  |  |--h1\n"; graph != want || err != nil {
		t.Errorf("the graph is\n%swant\n%s%v", graph, want, err)
	}
	o.Sources = []string{"vp/c.yaml"}
	if _, err := Load(t.Context(), o); err != nil {
		t.Error(err)
	}
	if called, _ := os.ReadFile(filepath.Join(dir, "called")); strings.HasSuffix(string(called), "plugins: \n") && os.Getenv("ANSIBLE_VARS_ENABLED") != "" {
		t.Errorf("with use_vars_plugins: %q", called)
	}
	for _, test := range []struct{ source, tool, want, hint string }{
		{"inv/2.yaml", "", "inv/2.yaml:1: this configures the inventory plugin acme.cloud.hosts, which only Ansible can run, and ansible-inventory is not here", "ansible-inventory -i inv/2.yaml --list --yaml"},
		{"inv/2.yaml", "broken", "inv/2.yaml:1: broken --list failed: exit status 4; it said:\nno such plugin", "--list"},
		{"inv/2.yaml", "garbage", "inv/2.yaml:1: what ansible-inventory printed is not JSON: what", ""},
		{"inv/2.yaml", "nowhere", "inv/2.yaml:1: this configures the inventory plugin acme.cloud.hosts, which only Ansible can run: ", ""},
		{"config", "tool", "config:1: this configures the inventory plugin x", ".yml"},
		{"number.yml", "tool", "number.yml:1: a plugin is named by a string, and this is an integer", ""},
	} {
		o.Sources, o.AnsibleInventory = []string{test.source}, ""
		if test.tool != "" {
			o.AnsibleInventory = filepath.Join(dir, test.tool)
		}
		_, err := Load(t.Context(), o)
		checkError(t, err, test.want, test.hint)
	}
	o.Sources, o.AnsibleInventory = []string{"enabled/e.yml"}, filepath.Join(dir, "tool")
	o.Settings.Plugins = []string{"acme", "yaml"}
	if _, err := Load(t.Context(), o); err != nil {
		t.Errorf("with the plugin enabled by its name: %v", err)
	}
}

// TestLivePlugins compares sources that need Ansible with the real tool, which
// both then use.
func TestLivePlugins(t *testing.T) {
	a := startAnsible(t)
	c := corpusCase{files: map[string]string{
		"inv/10-hosts": "[web]\nh1 size=5 zone=eu\nh2 size=2 zone=us\n[db]\nh3 zone=eu\n[db:vars]\nrole=db\n",
		"inv/20-made.yml": "plugin: ansible.builtin.constructed\nstrict: false\ncompose: {double: size | int * 2, who: inventory_hostname + '!'}\n" +
			"groups: {big: size | default(0) | int > 3}\nkeyed_groups: [{key: zone, prefix: zone}, {key: role, prefix: role}]\n",
		"inv/30-more.yaml":     "web: {hosts: {h4: {zone: late}}, vars: {role: web}}\n",
		"inv/group_vars/all":   "from: all-file\nzone: file\n",
		"inv/group_vars/web":   "from: web-file\n",
		"inv/host_vars/h2.yml": "hv: 1\n",
		"generated.yml": "plugin: ansible.builtin.generator\nhosts: {name: \"{{ op }}-{{ app }}\", parents: [{name: \"{{ op }}\"}]}\n" +
			"layers: {op: [build, run], app: [web, api]}\n",
		"vp/hosts":            "[web]\nh1\n",
		"vp/vp.yml":           "plugin: constructed\nuse_vars_plugins: true\nkeyed_groups: [{key: color}]\n",
		"vp/group_vars/web":   "color: red\n",
		"meta.sh":             "#!/bin/sh\necho '{\"s\": [\"s1\"], \"_meta\": {\"hostvars\": {\"s1\": {\"zone\": \"script\"}}}}'\n",
		"two/constructed.yml": "plugin: constructed\nkeyed_groups: [{key: zone, prefix: z}]\n",
	}}
	dir := c.write(t)
	for _, sources := range [][]string{{"inv"}, {"generated.yml"}, {"vp"}, {"inv", "generated.yml"}, {"meta.sh", "inv", "two/constructed.yml"}, {"x1,x2", "two/constructed.yml"}} {
		inv, err := Load(t.Context(), Options{Sources: sources, Dir: dir, Env: os.Environ(), AnsibleInventory: filepath.Join(a.bin, "ansible-inventory")})
		if err != nil {
			t.Fatalf("%v: %v", sources, err)
		}
		for _, verb := range []string{"list", "graph", "vars"} {
			in := invocation{verb: verb, sources: sources}
			want := in.real(t, a, dir)
			if want.RC != 0 {
				t.Fatalf("%v: the real tool fails: %s", sources, want.Stderr)
			}
			got, err := in.show(inv, a.dialect)
			check(t, verb+" "+strings.Join(sources, " "), got, want.Stdout, err)
		}
	}
}
