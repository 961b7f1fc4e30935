package inventory

import (
	"testing"
)

// TestINIErrors has one wrong INI inventory after another: each error says
// file, line, what is wrong and the way out.
func TestINIErrors(t *testing.T) {
	tests := []struct{ name, text, want, hint string }{
		{"unknown type", "h\n[web:what]\n", "hosts.ini:2: the section [web:what] has an unknown type", ":vars"},
		{"spaces in a section", "\n\n[web servers]\n", "hosts.ini:3: [web servers] is no section", "no spaces"},
		{"no type", "[web:]\n", "hosts.ini:1: [web:] is no section", ""},
		{"undefined child", "[web:children]\nfrontend\n", "hosts.ini:2: frontend, a child of web, is no group", "[frontend]"},
		{"host as a child", "h1\n[web:children]\nh1\n", "hosts.ini:3: h1, a child of web, is no group", "h1 is a host"},
		{"first undefined child", "[a:children]\nx\ny\n[b:children]\nx\n[y]\n", "hosts.ini:2: x, a child of b, is no group", ""},
		{"vars of no group", "h1\n[web:vars]\na=1\n", "hosts.ini:2: [web:vars] is for a group that is not there", "[web]"},
		{"child with variables", "[web:children]\ndb a=1\n", "hosts.ini:2: \"db a=1\" is no name of a group", "[web:vars]"},
		{"no assignment", "[all:vars]\nname: value\n", "hosts.ini:2: \"name: value\" in [all:vars] is no name=value", "name="},
		{"word without =", "h1 ansible_host = 10.0.0.1\n", "hosts.ini:1: \"ansible_host\" behind the host h1 is no name=value", "no blanks"},
		{"open quote", "h1\nh2 a='b\n", "hosts.ini:2: the line of a host can't be split into words: a quote is not closed", "[ungrouped:vars]"},
		{"backslash at the end", "h1 a=b\\\n", "hosts.ini:1: the line of a host can't be split into words: nothing follows", ""},
		{"YAML", "---\nall:\n", "hosts.ini:1: --- begins a YAML document", ".yaml"},
		{"YAML key", "all:\n  hosts:\n", "hosts.ini:1: the host all: ends in a colon", ".yaml"},
		{"bad range", "web[1]\n", "hosts.ini:1: host web[1]: a host range is", ""},
		{"empty host", "'' a=1\n", "hosts.ini:1: a host of the group ungrouped has an empty name", ""},
		{"own child", "[web:children]\nweb\n", "hosts.ini:2: the group web is its own child", ""},
		{"loop", "[a:children]\nb\n[b:children]\na\n", "hosts.ini:4: the group a can't be a child of b", "remove one"},
		{"no UTF-8", "# \xff\nh1\nh2 a=\xff\n", "hosts.ini:3: not UTF-8", "UTF-8"},
		{"byte order mark", "\xef\xbb\xbf[web]\n", "hosts.ini:1: the file begins with a byte order mark", "UTF-8"},
		{"set of a set", "[all:vars]\na={{ 1 }}\n", "hosts.ini:2: {{ 1 }}: a list can't be an element of a set", "quotes"},
		{"list as a key", "h a={[1]:2}\n", "hosts.ini:1: {[1]:2}: only text, numbers", ""},
		{"named escape", "[all:vars]\na='\\N{BULLET}'\n", "hosts.ini:2: the escape \\N", "character"},
		{"later lines", "a\x0bb\r\n\u2028c d\n", "hosts.ini:4: \"d\" behind the host c", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := site(t, map[string]string{"hosts.ini": test.text}, Options{Sources: []string{"hosts.ini"}})
			checkError(t, err, test.want, test.hint)
		})
	}
}

// TestINIOrigin: variables know their line, and numbers how they are written.
func TestINIOrigin(t *testing.T) {
	inv := mustLoad(t, map[string]string{
		"hosts": "# one\nh1 inline=1.20\n[web]\nh1\n[web:vars]\n\nlist=[1, {'a': 2}]\nversion=-1.20\nbig=0x1F\n",
	}, Options{Sources: []string{"hosts"}})
	h, err := inv.Host("h1")
	if err != nil {
		t.Fatal(err)
	}
	if p := h.Defined().String(); p != "hosts:2" {
		t.Errorf("h1 is at %s", p)
	}
	for _, test := range []struct {
		path []string
		at   string
		raw  string
	}{
		{[]string{"inline"}, "hosts:2", "1.20"},
		{[]string{"version"}, "hosts:8", "-1.20"},
		{[]string{"big"}, "hosts:9", "0x1F"},
		{[]string{"list", "1", "a"}, "hosts:7", "2"},
	} {
		if p := h.Origin(test.path...).String(); p != test.at {
			t.Errorf("%v comes from %s, want %s", test.path, p, test.at)
		}
		if raw := h.Raw(test.path...); raw != test.raw {
			t.Errorf("%v is written %q, want %q", test.path, raw, test.raw)
		}
	}
}

// TestTOMLErrors is the same for TOML.
func TestTOMLErrors(t *testing.T) {
	tests := []struct{ name, text, want, hint string }{
		{"syntax", "[web]\nhosts = \n", "hosts.toml:2: bad TOML", ""},
		{"twice", "[web]\na = 1\na = 2\n", "hosts.toml:3: bad TOML", ""},
		{"hosts as a list", "[web]\nhosts = ['a']\n", "hosts.toml:2: hosts of the group web has to be a dictionary, and this is a list", ""},
		{"children as a table", "\n[web.children]\ndb = {}\n", "hosts.toml:2: children of the group web has to be a list", ""},
		{"child number", "[web]\nchildren = [\n  'a',\n  5]\n", "hosts.toml:4: a child of the group web has to have a name, and this is an integer", ""},
		{"host text", "[web.hosts]\na = 'x'\n", "hosts.toml:2: host a needs a table of variables, and this is a string", "a = {}"},
		{"time", "[web.vars]\nt = 07:32:00\n", "hosts.toml:2: a time of day without a date", "quotes"},
		{"plugin", "plugin = 'x'\n", "hosts.toml:1: this configures the inventory plugin x", ""},
		{"bad range", "[web.hosts]\n'a[1]' = {}\n", "hosts.toml:2: host a[1]: a host range is", ""},
		{"loop", "[a]\nchildren = ['b']\n[b]\nchildren = ['a']\n", "hosts.toml:4: the group a can't be a child of b", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := site(t, map[string]string{"hosts.toml": test.text}, Options{Sources: []string{"hosts.toml"}})
			checkError(t, err, test.want, test.hint)
		})
	}
	inv := mustLoad(t, map[string]string{"h.toml": "[web.vars]\na = [\n 1,\n {b = 2}]\n[web.hosts]\nx = {}\n"}, Options{Sources: []string{"h.toml"}})
	h, err := inv.Host("x")
	if err != nil {
		t.Fatal(err)
	}
	if p := h.Origin("a", "1", "b").String(); p != "h.toml:4" {
		t.Errorf("a[1].b comes from %s, want h.toml:4", p)
	}
	if p := h.Defined().String(); p != "h.toml:6" {
		t.Errorf("x is at %s", p)
	}
}
