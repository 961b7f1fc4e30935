package inventory

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/controller/internal/inventory/jinja"
)

func only(names ...string) func(string) bool {
	return func(name string) bool {
		for _, n := range names {
			if n == name {
				return true
			}
		}
		return false
	}
}

// evaluateIn evaluates a variable of the host h of hosts.yaml.
func evaluateIn(t *testing.T, files map[string]string, o Options, name string) (any, error) {
	t.Helper()
	inv := mustLoad(t, files, o)
	h, err := inv.Host("h")
	if err != nil {
		t.Fatal(err)
	}
	vars, err := h.Evaluate(only(name))
	return vars[name], err
}

// TestEvaluateErrors: what can't be evaluated names the variable, file and
// line of the template at fault, and a way out.
func TestEvaluateErrors(t *testing.T) {
	tests := []struct{ text, want, hint string }{
		{`"{{ nope }}"`, `hosts.yaml:4: x: "nope" is undefined`, "set nope in the inventory"},
		{`"{{ othr }}"`, `hosts.yaml:4: x: "othr" is undefined`, "is other meant?"},
		{`"{{ via }}"`, `hosts.yaml:6: x: "nothing" is undefined`, "set nothing"},
		{`["a", "{{ via }}"]`, `hosts.yaml:6: x: "nothing" is undefined`, "set nothing"},
		{`"{{ ansible_distribution }}"`, `hosts.yaml:4: x: "ansible_distribution" is undefined`, "only once a host was asked"},
		{`"{{ playbook_dir }}"`, `hosts.yaml:4: x: "playbook_dir" is undefined`, "while a playbook runs"},
		{`"{{ other.nope }}"`, `hosts.yaml:4: x: text has no "nope"`, ""},
		{`"{{ other | nofilter }}"`, "hosts.yaml:4: x: gofleet has no filter nofilter", "write the value itself"},
		{`"{{ other is notest }}"`, "hosts.yaml:4: x: gofleet has no test notest", "write the value itself"},
		{`"{{ lookup('pipe', 'id') }}"`, "hosts.yaml:4: x: gofleet has no lookup pipe", "write the value itself"},
		{`"{{ bad }}"`, "hosts.yaml:7: bad: bad template: a value is missing before", "close every bracket"},
		{`"{% macro m() %}{% endmacro %}"`, "hosts.yaml:4: x: {% macro %} is not supported", "write the value itself"},
		{`"{{ loop1 }}"`, "hosts.yaml:8: loop1 is needed to evaluate itself (needed by x)", "leads back"},
		{`"{{ x }}"`, "hosts.yaml:4: x is needed to evaluate itself", "leads back"},
		{`"{{ 1 / 0 }}"`, "hosts.yaml:4: x: division by zero", "ansible -i"},
		{`"{{ 'x' | from_json }}"`, "hosts.yaml:4: x: the filter from_json: this is not JSON", "ansible -i"},
		{`"{{ 'a' | regex_replace('(?=a)', 'b') }}"`, "hosts.yaml:4: x: the filter regex_replace: the regular expression", "ansible -i"},
		{`"{{ 'a' * 99999999999 }}"`, "hosts.yaml:4: x: the template takes too much: more than 32 MiB", "the value itself"},
		{`"{{ 2 ** 9999999 }}"`, "hosts.yaml:4: x: the template takes too much: a number", "the value itself"},
		{`"{{ range(9999999) | sum }}"`, "hosts.yaml:4: x: the template takes too much: more than", "the value itself"},
		{`"{{ '%999999999d' % 1 }}"`, "hosts.yaml:4: x: the template takes too much: a width", "the value itself"},
		{`"` + strings.Repeat("{% for a in range(100) %}", 5) + "{{ a }}" + strings.Repeat("{% endfor %}", 5) + `"`, "hosts.yaml:4: x: the template takes too much", ""},
		{`"{{ ` + strings.Repeat("(", 300) + "1" + strings.Repeat(")", 300) + ` }}"`, "hosts.yaml:4: x: bad template: nested more than", ""},
		{`"{{ lookup('file', '/nonexistent') }}"`, "hosts.yaml:4: x: the lookup file: no file /nonexistent", ""},
		{`"{{ lookup }}"`, "hosts.yaml:4: x: the template gives no value but a function", ""},
	}
	for _, test := range tests {
		t.Run(test.text[:min(40, len(test.text))], func(t *testing.T) {
			_, err := evaluateIn(t, map[string]string{"hosts.yaml": "all:\n  hosts: {h: }\n  vars:\n    x: " + test.text + `
    other: text
    via: "{{ nothing }}"
    bad: "{{ 1 + }}"
    loop1: "{{ loop2 }}"
    loop2: "{{ loop1 }}"
`}, Options{}, "x")
			checkError(t, err, test.want, test.hint)
			if n := len(Errors(err)); n != 1 {
				t.Errorf("%d errors: %v", n, err)
			}
		})
	}
}

// TestEvaluateLazily: what is not needed is not evaluated, and may be wrong.
func TestEvaluateLazily(t *testing.T) {
	inv := mustLoad(t, map[string]string{"hosts.yaml": `all:
  hosts:
    h: {own: "{{ shared }}-{{ inventory_hostname }}"}
    i: {own: "{{ hostvars.h.own }}!"}
  vars:
    shared: "{{ base ~ 1 }}"
    base: b
    broken: "{{ nope | nofilter }}"
    sealed: !vault |
      $ANSIBLE_VAULT;1.1;AES256
      6162
    d: {good: "{{ base }}", bad: "{{ nope }}"}
    part: "{{ d.good }}"
    gone: "{{ nope | default(omit) }}"
    kept: [1, "{{ omit }}", "{{ base }}"]
    text: !unsafe "{{ base }}"
    big: "{{ 2 ** 70 }}"
`}, Options{})
	want := map[string]map[string]any{
		"h": {"own": "b1-h", "part": "b", "kept": []any{int64(1), "b"}, "text": "{{ base }}"},
		"i": {"own": "b1-h!", "part": "b", "kept": []any{int64(1), "b"}, "text": "{{ base }}"},
	}
	for name, values := range want {
		h, err := inv.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		vars, err := h.Evaluate(only("own", "part", "gone", "kept", "text"))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range values {
			if !reflect.DeepEqual(vars[k], v) {
				t.Errorf("%s of %s is %v, want %v", k, name, vars[k], v)
			}
		}
		if _, there := vars["gone"]; there {
			t.Errorf("an omitted variable of %s is %v", name, vars["gone"])
		}
		if vars["broken"] != "{{ nope | nofilter }}" || h.Vars["part"] != "{{ d.good }}" {
			t.Errorf("what was not asked for has changed: %v", vars)
		}
		if h.Written("part") != "" || h.Written("base") != "b" || h.Written("text") != "{{ base }}" {
			t.Error("Written tells the text of a template")
		}
	}
}

// TestEvaluateShares: a host without templates among what is needed gets the
// map that it shares with others.
func TestEvaluateShares(t *testing.T) {
	inv := mustLoad(t, map[string]string{"hosts.yaml": "all: {hosts: {h: }, vars: {a: 1, b: '{{ a }}'}}\n"}, Options{})
	h, err := inv.Host("h")
	if err != nil {
		t.Fatal(err)
	}
	vars, err := h.Evaluate(only("a"))
	if err != nil || reflect.ValueOf(vars).Pointer() != reflect.ValueOf(h.Vars).Pointer() {
		t.Errorf("a map of its own, %v", err)
	}
}

// sealedFiles uses the texts of the corpus, whose password is "first".
func sealedFiles(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/corpus/vault.txt")
	if err != nil {
		t.Fatal(err)
	}
	return parseCase("vault", string(text)).files
}

func TestEvaluateVault(t *testing.T) {
	files := sealedFiles(t)
	o := Options{Sources: []string{"hosts.yaml"}, Vault: VaultOptions{IDs: []string{"one.pw", "prod@two.pw"}}}
	inv := mustLoad(t, files, o)
	h, err := inv.Host("h1")
	if err != nil {
		t.Fatal(err)
	}
	vars, err := h.Evaluate(func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	// A decrypted value is text, and never a template.
	for name, want := range map[string]string{"own": "own secret", "number": "42", "lines": "two\nlines é \"'\n", "template": "{{ inventory_hostname }}"} {
		if vars[name] != want {
			t.Errorf("%s is %q, want %q", name, vars[name], want)
		}
		if !h.Secret(name) {
			t.Errorf("%s is no secret", name)
		}
	}
	if h.Secret("plain") || h.Secret("unsafe") {
		t.Error("what is no secret is one")
	}
}

// TestVaultErrors: the errors name the place, the id and the way out, and
// show nothing of passwords or values.
func TestVaultErrors(t *testing.T) {
	files := sealedFiles(t)
	files["wrong.pw"] = "hunter2\n"
	files["empty.pw"] = "\n"
	files["fails.sh"] = "#!/bin/sh\nexit 3\n"
	files["two-client"] = "#!/bin/sh\nexit 2\n"
	files["hosts.yaml"] += "    uses: \"{{ own ~ 1 }}\"\n    breaks: \"{{ own | from_json }}\"\n"
	tests := []struct {
		name  string
		vault VaultOptions
		want  string
		hint  string
	}{
		{"own", VaultOptions{}, "hosts.yaml:4: own: encrypted with Ansible Vault (id default), and no vault password is given", "-J"},
		{"uses", VaultOptions{}, "hosts.yaml:4: own: encrypted with Ansible Vault (id default), and no vault password is given (needed by uses)", "-J"},
		{"own", VaultOptions{PasswordFiles: []string{"wrong.pw"}}, "hosts.yaml:4: own: none of the vault passwords given (default) opens this", "--vault-password-file"},
		{"number", VaultOptions{IDs: []string{"dev@wrong.pw", "prod@one.pw"}}, "hosts.yaml:11: number: none of the vault passwords given (dev, prod) opens this; it was encrypted with the id prod", "--vault-id prod@FILE"},
		{"number", VaultOptions{IDs: []string{"dev@two.pw"}, MatchID: true}, "hosts.yaml:11: number: encrypted with Ansible Vault, and no vault password with its id prod is given, which vault_id_match", "--vault-id prod@FILE"},
		{"breaks", VaultOptions{IDs: []string{"one.pw"}}, "hosts.yaml:", ""},
		{"", VaultOptions{PasswordFiles: []string{"nosuch"}}, "--vault-password-file nosuch: no such file", "name a file"},
		{"", VaultOptions{PasswordFiles: []string{"."}}, "--vault-password-file .: it is a directory", "name a file"},
		{"", VaultOptions{PasswordFiles: []string{"empty.pw"}}, "--vault-password-file empty.pw: the vault password is empty", "first line"},
		{"", VaultOptions{IDs: []string{"x@fails.sh"}}, "--vault-id x@fails.sh: the program failed: exit status 3", "see what it says"},
		{"", VaultOptions{IDs: []string{"x@two-client"}}, "--vault-id x@two-client: the program has no password for the id x", "--vault-id x"},
		{"", VaultOptions{IDs: []string{"x@prompt"}}, "--vault-id x@prompt: there is nobody to ask", "--vault-password-file"},
		{"", VaultOptions{Ask: true}, "--ask-vault-pass: there is nobody to ask", "--vault-password-file"},
	}
	for i, test := range tests {
		t.Run(fmt.Sprintf("%d %s", i, test.name), func(t *testing.T) {
			o := Options{Sources: []string{"hosts.yaml"}, Vault: test.vault}
			inv, err := site(t, files, o)
			if err == nil {
				var h *Host
				if h, err = inv.Host("h1"); err != nil {
					t.Fatalf("the host without the value: %v", err)
				}
				if _, err := h.Evaluate(only("plain")); err != nil {
					t.Fatalf("a value that needs no password: %v", err)
				}
				_, err = h.Evaluate(only(test.name))
			}
			checkError(t, err, test.want, test.hint)
			for _, secret := range []string{"hunter2", "own secret", "two\nlines"} {
				if all := err.Error() + Errors(err)[0].Hint; strings.Contains(all, secret) {
					t.Errorf("%q in %s", secret, all)
				}
			}
		})
	}
}

// TestVaultFileErrors: a sealed file stops who needs it, and what is wrong in
// its text is told without it.
func TestVaultFileErrors(t *testing.T) {
	files := sealedFiles(t)
	inv := mustLoad(t, files, Options{Sources: []string{"dir"}, Vault: VaultOptions{IDs: []string{"prod@two.pw"}}})
	if _, err := inv.Host("d1"); err != nil {
		t.Errorf("a host that needs no sealed file of another: %v", err)
	}
	_, err := inv.Host("w1")
	checkError(t, err, "dir/group_vars/web.yml:1: none of the vault passwords given (prod) opens this; it was encrypted with the id default", "--vault-password-file")
	_, err = site(t, files, Options{Sources: []string{"sealed.yaml"}})
	checkError(t, err, "sealed.yaml:1: encrypted with Ansible Vault (id default), and no vault password is given", "-J")
	_, err = site(t, files, Options{Sources: []string{"hosts.yaml"}, ExtraVars: []string{"@one.pw.vault"}})
	checkError(t, err, "-e @one.pw.vault: no such file", "")

	l := &loader{warn: func(Position, string, ...any) { t.Error("a warning about a secret text") }}
	_, err = l.loadSecret("f.yml", []byte("a: 1\nsecret: 2020-13-45\nb: [\n"))
	checkError(t, err, "f.yml: line", "ansible-vault view")
	if strings.Contains(err.Error(), "2020") {
		t.Errorf("%v", err)
	}
}

// TestLookupFile reads files/ first, then beside.
func TestLookupFile(t *testing.T) {
	files := map[string]string{
		"hosts.yaml": "all:\n  hosts: {h: }\n  vars:\n    x: \"{{ lookup('file', 'a') ~ lookup('file', 'b', rstrip=false) }}\"\n",
		"a":          "wrong", "files/a": "key \n\n", "b": "line\n",
	}
	got, err := evaluateIn(t, files, Options{}, "x")
	if err != nil || got != "keyline\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzTemplate evaluates arbitrary templates. Whatever the text is, the
// answer is a value or an *Error, after a bounded time.
func FuzzTemplate(f *testing.F) {
	for _, c := range templateCases(f) {
		f.Add(c)
	}
	dir := corpusCase{files: caseFiles(f, []string{"{{ s }}"})}.write(f)
	inv, err := Load(f.Context(), Options{Sources: []string{"site.yaml", "cases.yaml"}, Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	h, err := inv.Host("e0000")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "file") {
			return
		}
		h.scope = nil
		h.set("expr", variable{val: stringValue(&document{name: "fuzz"}, text)})
		h.own = h.inline
		_, err = h.Evaluate(only("expr"))
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("not an *Error: %v", err)
		}
		if err == nil && !jinja.IsTemplate(text) {
			if v, _ := h.variable("expr"); v.val.data != text {
				t.Fatal("text without a template has changed")
			}
		}
	})
}

// TestSecrets: what came from a vault is known by its place, what a template
// made of it too, and what it was made of; what stands beside it is not.
func TestSecrets(t *testing.T) {
	files := sealedFiles(t)
	files["hosts.yaml"] += `    beside: {plain: public, made: "user:{{ own }}", list: [1, "{{ number }}"]}
    whole: "{{ {'a': own, 'b': 'with it'} }}"
    again: "{{ own }}"
    public: "{{ plain }}"
`
	inv := mustLoad(t, files, Options{
		Sources: []string{"hosts.yaml"}, Vault: VaultOptions{IDs: []string{"one.pw", "prod@two.pw"}},
	})
	h, err := inv.Host("h1")
	if err != nil {
		t.Fatal(err)
	}
	if !inv.HasVault() || len(h.Secrets()) != 0 {
		t.Errorf("before anything is evaluated: %v", h.Secrets())
	}
	for range 2 { // the second time from what is kept
		if _, err := h.Evaluate(only("beside", "whole", "again", "public")); err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, s := range h.Secrets() {
			got[strings.Join(s.Path, ".")+"="+s.Text]++
		}
		want := map[string]int{
			"beside.made=user:own secret": 1, "beside.list.1=42": 1, "whole.a=own secret": 1, "whole.b=with it": 1,
			"again=own secret": 1, "=own secret": 3, "=42": 1,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if h.Secret("public") || !h.Secret("beside") {
		t.Error("the wrong variables are secret")
	}
}

// TestSecretsOfFiles: all that stands in an encrypted file is secret, with
// and without templates.
func TestSecretsOfFiles(t *testing.T) {
	inv := mustLoad(t, map[string]string{"hosts.yaml": `all:
  hosts: {h: }
  vars:
    url: "https://{{ sealed.token }}@mirror"
    open: nothing
`}, Options{})
	h, err := inv.Host("h")
	if err != nil {
		t.Fatal(err)
	}
	doc := &document{name: "vault.yml", secret: true}
	root, err := (&loader{warn: func(Position, string, ...any) {}}).parse(doc,
		[]byte("sealed: {token: t0ken, pin: 1234, yes: true, tpl: '{{ open }}'}\nlist: [a, b]\nunused: x\n"))
	if err != nil {
		t.Fatal(err)
	}
	h.own = map[string]variable{}
	for _, p := range root.pairs {
		h.own[p.name] = variable{val: p.val, line: p.line}
	}
	if _, err := h.Evaluate(only("sealed", "list", "url", "open")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range h.Secrets() {
		if len(s.Path) > 0 {
			got = append(got, strings.Join(s.Path, ".")+"="+s.Text)
		}
	}
	slices.Sort(got)
	want := []string{"list.0=a", "list.1=b", "sealed.pin=1234", "sealed.token=t0ken", "sealed.tpl=nothing", "url=https://t0ken@mirror"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
