package inventory

import (
	"errors"
	"strings"
	"testing"
)

// site writes files and loads hosts.yaml beside them.
func site(t *testing.T, files map[string]string, o Options) (*Inventory, error) {
	t.Helper()
	o.Dir = corpusCase{files: files}.write(t)
	if o.Sources == nil {
		o.Sources = []string{"hosts.yaml"}
	}
	return Load(t.Context(), o)
}

func mustLoad(t *testing.T, files map[string]string, o Options) *Inventory {
	t.Helper()
	inv, err := site(t, files, o)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// TestErrors has one wrong inventory after another: each error says file,
// line and what is wrong.
func TestErrors(t *testing.T) {
	const ok = "all: {hosts: {h: }}\n"
	deep := strings.Repeat("{a: ", 300) + strings.Repeat("}", 300)
	laughs := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 8 {
		laughs += string(rune('b'+i)) + ": &" + string(rune('b'+i)) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(rune('a'+i))+", ", 10), ", ") + "]\n"
	}
	tests := []struct {
		name string
		text string // of hosts.yaml
		want string // file:line: and some of the message
		hint string
	}{
		{"bad indentation", "all:\n  hosts:\n    a:\n   b:\n", "hosts.yaml:4: bad YAML: did not find expected key", ""},
		{"open quote", "all:\n  vars:\n    x: \"abc\n    y: 1\n", "hosts.yaml:3: bad YAML: found unexpected end of stream", ""},
		{"open bracket", "all:\n  vars:\n    x: [1, 2\n    y: 1\n    z: 2\n", "hosts.yaml:3: bad YAML:", ""},
		{"two colons", "all:\n  vars:\n    x: a: b\n", "hosts.yaml:3: bad YAML: mapping values are not allowed", "quote a value that holds a colon"},
		{"tab", "all:\n  vars:\n\tx: 1\n", "hosts.yaml:3: bad YAML: found character that cannot start any token", "spaces"},
		{"question mark", "all:\n  vars: {x: [http://a?b]}\n", "hosts.yaml:2: bad YAML:", "question mark"},
		{"template", "all:\n  vars:\n    x: {{ y }}\n", "hosts.yaml:3: a dictionary is used as a key", `"{{ name }}"`},
		{"at sign", "all:\n  vars:\n    x: @y\n", "hosts.yaml:3: bad YAML: found character that cannot start any token", ""},
		{"not UTF-8", "all:\n  vars:\n    x: \xff\n", "hosts.yaml:3: not UTF-8", "UTF-8"},
		{"two documents", ok + "---\n" + ok, "hosts.yaml:2: a second YAML document", "---"},
		{"unknown anchor", "all:\n  vars: *x\n", "hosts.yaml:2: bad YAML: unknown anchor 'x'", ""},
		{"anchor in itself", "all:\n  vars: &x {y: *x}\n", "hosts.yaml:2: anchor &x contains itself", ""},
		{"merge of a scalar", "all:\n  vars:\n    <<: 1\n", "hosts.yaml:3: << merges dictionaries, and this is an integer", ""},
		{"unknown tag", "all:\n  vars:\n    x: !new 1\n", "hosts.yaml:3: the tag !new", "quote"},
		{"tag of another kind", "all:\n  vars:\n    x: !!int [1]\n", "hosts.yaml:3: !!int is put before the wrong kind", ""},
		{"no such day", "all:\n  vars:\n    x: 2020-02-30\n", "hosts.yaml:3: \"2020-02-30\" looks like a date", "quote"},
		{"bad int", "all:\n  vars:\n    x: !!int y\n", "hosts.yaml:3: \"y\" is not an integer", ""},
		{"too deep", "all:\n  vars:\n    x: " + deep + "\n", "hosts.yaml:3: nested more than 256 deep", ""},
		{"laughs", laughs, "hosts.yaml:", ""},
		{"list at the top", "- all\n", "hosts.yaml:1: an inventory is a dictionary of groups, and this is a list", ""},
		{"text at the top", "nothing here", "hosts.yaml:1: an inventory is a dictionary of groups, and this is a string", ""},
		{"plugin", "plugin: amazon.aws.aws_ec2\nregions: [x]\n", "hosts.yaml:1: this configures the inventory plugin amazon.aws.aws_ec2", "ansible-inventory -i hosts.yaml --list"},
		{"hosts as a list", "all:\n  hosts:\n    - a\n", "hosts.yaml:2: hosts of the group all needs a dictionary, and this is a list", "no dash"},
		{"vars as a number", "all:\n  vars: 5\n", "hosts.yaml:2: vars of the group all needs a dictionary, and this is an integer", ""},
		{"child is a list", "all:\n  children:\n    web: [a]\n", "hosts.yaml:3: web, a child of all, is no group", "write web:"},
		{"own child", "web:\n  children:\n    web:\n", "hosts.yaml:3: the group web is its own child", ""},
		{"loop", "a:\n  children:\n    b:\nb:\n  children:\n    c: {children: {a: }}\n", "hosts.yaml:6: the group c can't be a child of b, which is below it", "remove one"},
		{"all as a child", "a:\n  children: {all: }\n", "the group all can't be a child of a", ""},
		{"number as host", "all:\n  hosts:\n    5:\n", "hosts.yaml:3: a host is named by a string, not \"5\"", "quotes"},
		{"number as group", "5:\n  hosts: {a: }\n", "hosts.yaml:1: a group is named by a string, not \"5\"", "quotes"},
		{"empty host", "all:\n  hosts:\n    \"\":\n", "hosts.yaml:3: a host of the group all has an empty name", ""},
		{"host variables", "all:\n  hosts:\n    a: text\n", "hosts.yaml:3: host a needs a dictionary of variables", "write a: {ansible_host:"},
		{"open range", "all:\n  hosts:\n    a[1:\n", "hosts.yaml:3: host a[1: a host range begins with [", ""},
		{"range of one", "all:\n  hosts:\n    \"a[1]\":\n", "hosts.yaml:3: host a[1]: a host range is [begin:end]", ""},
		{"range without end", "all:\n  hosts:\n    \"a[1:]\":\n", "hosts.yaml:3: host a[1:]: a host range needs its end", ""},
		{"range of mixed kinds", "all:\n  hosts:\n    \"a[1:b]\":\n", "hosts.yaml:3: host a[1:b]: a host range goes from number", ""},
		{"range of letters down", "all:\n  hosts:\n    \"a[d:b]\":\n", "hosts.yaml:3: host a[d:b]: a host range of letters goes upwards", ""},
		{"range of two widths", "all:\n  hosts:\n    \"a[01:100]\":\n", "hosts.yaml:3: host a[01:100]: begin and end of a host range", ""},
		{"step of zero", "all:\n  hosts:\n    \"a[1:5:0]\":\n", "hosts.yaml:3: host a[1:5:0]: the step", ""},
		{"huge range", "all:\n  hosts:\n    \"a[1:9999999999]\":\n", "hosts.yaml:3: host a[1:9999999999]: the range stands for more than 1000000", ""},
		{"vault file", "$ANSIBLE_VAULT;1.1;AES256\n6162\n", "hosts.yaml:1: encrypted with Ansible Vault (id default), and no vault password is given", "--vault-password-file"},
		{"program", "chmod -x\n#!/bin/sh\necho '{}'\n", "hosts.yaml: a program that may not be executed", "chmod"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := site(t, map[string]string{"hosts.yaml": test.text}, Options{})
			checkError(t, err, test.want, test.hint)
		})
	}
}

func checkError(t *testing.T, err error, want, hint string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v (%T), want an *Error", err, err)
	}
	if !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error is %q\nwant       %q", err, want)
	}
	if !strings.Contains(e.Hint, hint) {
		t.Errorf("hint is %q, want %q in it", e.Hint, hint)
	}
}

// TestSourceErrors has sources and options that can't be read.
func TestSourceErrors(t *testing.T) {
	files := map[string]string{
		"hosts.yaml":     "all: {hosts: {h: }}\n",
		"dir/.hidden":    "x",
		"dir/readme.txt": "x",
		"mixed/a.yaml":   "all: {hosts: {h: }}\n",
		"mixed/b":        "[web:what]\nh\n",
		"mixed/c.yaml":   "all: [1]\n  x\n",
		"list.yml":       "[1]\n",
		"empty.yml":      "",
	}
	tests := []struct {
		o          Options
		want, hint string
	}{
		{Options{Sources: []string{"nowhere"}}, "nowhere: no such file or directory", "-i nowhere,"},
		{Options{Sources: []string{"no/where"}}, "no/where: no such file or directory", "file or directory"},
		{Options{Sources: []string{"dir"}}, "dir: no inventory file in this directory", ".txt"},
		{Options{Sources: []string{"mixed"}}, "mixed/b:1: the section [web:what] has an unknown type\nmixed/c.yaml:2: bad YAML", ""},
		{Options{Sources: []string{}}, "no inventory", "-i"},
		{Options{ExtraVars: []string{"@nowhere.yml"}}, "-e @nowhere.yml: no such file or directory", "reads variables"},
		{Options{ExtraVars: []string{"./x.yml"}}, "-e: ./x.yml looks like a file", "-e @./x.yml"},
		{Options{ExtraVars: []string{"novalue"}}, "-e: a word without =", "name=value"},
		{Options{ExtraVars: []string{"a=1", "b='x"}}, "-e (number 2): a quote", "close"},
		{Options{ExtraVars: []string{"[1, 2]"}}, "-e:1: extra variables are a dictionary, and this is a list", ""},
		{Options{ExtraVars: []string{"{a: [}"}}, "-e:1: bad YAML", ""},
		{Options{ExtraVars: []string{"@list.yml"}}, "list.yml:1: extra variables are a dictionary", ""},
		{Options{ExtraVars: []string{"@empty.yml"}}, "empty.yml: no variables in this file", ""},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			_, err := site(t, files, test.o)
			checkError(t, err, test.want, test.hint)
		})
	}
}

// TestVarsFileErrors: a bad file stops only those who need it.
func TestVarsFileErrors(t *testing.T) {
	inv := mustLoad(t, map[string]string{
		"hosts.yaml":           "web: {hosts: {w1: , w2: }}\ndb: {hosts: {d1: }}\n",
		"group_vars/web.yml":   "a: 1\n b: 2\n",
		"host_vars/w2.yml":     "[1]\n",
		"host_vars/d1/vault":   "$ANSIBLE_VAULT;1.1;AES256\n61\n",
		"host_vars/d1/b.yml":   "b: 1\n",
		"group_vars/other.yml": "nobody: {reads: this\n",
	}, Options{})
	_, err := inv.Hosts("web", "")
	var got []string
	for _, e := range Errors(err) {
		got = append(got, e.Error())
	}
	want := "group_vars/web.yml:2: bad YAML: mapping values are not allowed in this context" +
		"|host_vars/w2.yml:1: a variable file is a dictionary, and this is a list"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("errors are %s\nwant       %s", s, want)
	}
	_, err = inv.Host("d1")
	checkError(t, err, "host_vars/d1/vault:1: encrypted with Ansible Vault", "--vault-password-file")
	if _, err := inv.ListJSON(ListOptions{}); err == nil {
		t.Error("the list of a site with bad files succeeds")
	}
	if _, err := inv.ListJSON(ListOptions{Limit: "!web,!db"}); err != nil {
		t.Errorf("without the hosts that need them: %v", err)
	}
}

// TestNoHosts: what leaves no host says so.
func TestNoHosts(t *testing.T) {
	inv := mustLoad(t, map[string]string{
		"hosts.yaml": "web: {hosts: {w1: , w2: }}\nempty: {}\n",
		"dirlimit/x": "",
	}, Options{})
	tests := []struct{ pattern, limit, want string }{
		{"nosuch", "", `the pattern "nosuch" matches no host`},
		{"empty", "", `the pattern "empty" matches no host`},
		{"all", "nosuch", `the limit "nosuch" leaves no host`},
		{"all", "web,!web", `the limit "web,!web" leaves no host`},
		{"web[7]", "", "no hosts matched the subscripted pattern web[7]"},
		{"web[99999999999999999999]", "", "the number in the pattern"},
		{"~web(", "", "the pattern ~web(: error parsing regexp"},
		{"~(?=web)", "", "the pattern ~(?=web)"},
		{"!", "", "a pattern is empty"},
		{"all", "@nowhere", "--limit @nowhere: no such file or directory"},
		{"all", "@dirlimit", "--limit @dirlimit: is a directory"},
	}
	for _, test := range tests {
		_, err := inv.Hosts(test.pattern, test.limit)
		checkError(t, err, test.want, "")
	}
	if _, err := inv.Host("nosuch"); !errors.Is(err, ErrNoHosts) {
		t.Errorf("unknown host: %v", err)
	}
	if _, err := inv.GraphText("wed", false); err == nil || !strings.Contains(Errors(err)[0].Hint, "web") {
		t.Errorf("unknown group: %v", err)
	}
	warnings := strings.Join(inv.Warnings(), "\n")
	if !strings.Contains(warnings, "no host or group matches the pattern nosuch") {
		t.Errorf("warnings are %q", warnings)
	}
}

// TestWarnings are what Ansible warns about and goes on.
func TestWarnings(t *testing.T) {
	inv := mustLoad(t, map[string]string{
		"hosts.yaml": `web-tier:
  host: {a: }
  hosts:
    h: {x: 1, x: 2}
    web-tier:
  list: [1]
text: only
prio:
  vars: {ansible_group_priority: high}
`,
		"second.yaml": "",
		"group_vars":  "a file",
	}, Options{Sources: []string{"hosts.yaml", "second.yaml"}})
	if _, err := inv.Hosts("all", ""); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`hosts.yaml:4: found the key "x" twice`,
		`hosts.yaml:1: the group name "web-tier" has characters`,
		`hosts.yaml:2: host in the group web-tier is passed over: only hosts, vars and children belong there; hosts is meant?`,
		`hosts.yaml:6: list in the group web-tier is a list`,
		`hosts.yaml:7: text is not a group definition but a string`,
		`hosts.yaml:9: ansible_group_priority of prio is not a number; it stays 1`,
		`second.yaml: empty inventory file`,
		`hosts.yaml:5: there are both a group and a host with the name web-tier`,
		`group_vars: not a directory`,
	}
	got := inv.Warnings()
	for i, w := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], w) {
			t.Fatalf("warnings are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if len(got) != len(want) {
		t.Errorf("more warnings than expected: %q", got[len(want):])
	}
}
