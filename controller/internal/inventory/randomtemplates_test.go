package inventory

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// Texts that ansible-vault made with the password "vault-password-of-the-lab".
const (
	sealedText = `!vault |
                $ANSIBLE_VAULT;1.2;AES256;prod
                66376432303464346465613239373563323062626264303865393032313136613133346337656530
                3636323330313965366437356433666664613637336134340a363164393938373362306530653733
                38386232396362643937623566353263363263336633386437366136663130653966326562303330
                6231386561393033330a313863616333623564353539303035656333393132663639333364383431
                39343633666564386433323232373236633061643337373034663963663639306336`
	sealedFile = `$ANSIBLE_VAULT;1.1;AES256
63326432623161323938356233383235393634623238326239383635363337346262613662373462
6566353738623031613038366139663332663266383839330a363334323866363664303930346237
31653761373434306263656330646538643364613466376239653738333536323734653039653766
3831643637333332330a326133353762353430663234643565303834383138666464616136663765
33616531366337636237383037313837393665363137386235353966663265653930333333323836
39383163633030363565346437653836303435643732353865353733353663366530663939333961
33336332366563623437383766323035653432303932626534356435383137313438363434316433
63343438393031346665383032643039356662333431613461306633386438613364396434333133
3864
`
)

const templatedVars = 8

// templated is the value of the variable v<n>. Templates only use variables
// with higher numbers, so that there are no loops. All of them are defined:
// what a container with something undefined in it becomes is not compared.
func (g *generator) templated(n int) string {
	if n >= templatedVars-2 || g.IntN(3) == 0 {
		return pick(g, "1", "'two'", "[1, two]", "{a: 1, b: [x]}", "true", "~", "1.5", "!unsafe '{{ v7 }}'", sealedText, `"{{ vault_token }}"`)
	}
	name := func() string { return fmt.Sprintf("v%d", n+1+g.IntN(templatedVars-n-1)) }
	a, b := name(), name()
	e := pick(g, a, a+" ~ '-' ~ "+b, a+" | default('d') | string | upper", "["+a+", "+b+"]", b+" if "+a+" is defined else inventory_hostname",
		"{'k': "+a+"} | combine({'l': "+b+"})", "hostvars['e0001']."+a, "groups['g1'] | length", a+" | string | length",
		"vault_proxy | b64encode", a+" | to_json", "lookup('vars', '"+a+"', default='none')", "group_names | join(',')", a+" == "+b,
		"vars['"+a+"']", "nope"+strconv.Itoa(n)+" | default("+a+")")
	if g.IntN(3) == 0 {
		return fmt.Sprintf("%q", "before {{ "+e+" }}{% if "+a+" is string %} text{% endif %}")
	}
	return fmt.Sprintf("%q", "{{ "+e+" }}")
}

// templates fills files with hosts whose variables are templates and values
// from vaults, at every level.
func (g *generator) templates() {
	var b strings.Builder
	level := func(indent string, n int) {
		for range n {
			v := g.IntN(templatedVars)
			fmt.Fprintf(&b, "%sv%d: %s\n", indent, v, g.templated(v))
		}
	}
	b.WriteString("all:\n  vars:\n    expr: \"{{ v0 }}\"\n    shown: \"{{ [v1, v2] }}\"\n")
	for v := range templatedVars {
		fmt.Fprintf(&b, "    v%d: %s\n", v, g.templated(v))
	}
	b.WriteString("  children:\n    g1:\n      vars:\n        own: 1\n")
	level("        ", g.IntN(3))
	b.WriteString("      hosts:\n")
	for host := range 4 {
		fmt.Fprintf(&b, "        e%04d:\n", host)
		level("          ", g.IntN(4))
	}
	g.files = map[string]string{"hosts.yaml": b.String(), "group_vars/all/vault.yml": sealedFile, "pw": "vault-password-of-the-lab\n"}
}

// TestRandomTemplates asks both tools about random templates and vault values.
// Where they differ between releases, gofleet is like the current one.
func TestRandomTemplates(t *testing.T) {
	a := startAnsible(t)
	if a.dialect != Current {
		t.Log("nothing to compare: templates are like ansible-core 2.19 and later")
		return
	}
	rounds, seed := randomRounds()
	rounds = max(rounds/6, 1) // each takes seconds of the real tool
	values := 0
	for round := range rounds {
		g := &generator{Rand: rand.New(rand.NewPCG(seed+uint64(round), 1))}
		g.templates()
		dir := corpusCase{files: g.files}.write(t)
		want := debugOutcomes(t, a.run(t, dir, "ansible", "-i", "hosts.yaml", "--vault-password-file", "pw", "all", "-f", "2", "-m", "debug", "-a", "msg={{ expr }}"))
		inv, err := Load(t.Context(), Options{Sources: []string{"hosts.yaml"}, Dir: dir, Vault: VaultOptions{PasswordFiles: []string{"pw"}}})
		if err != nil {
			t.Fatalf("seed %d: %v", seed+uint64(round), err)
		}
		for n := range 4 {
			w, asked := want[n]
			h, err := inv.Host(fmt.Sprintf("e%04d", n))
			if err != nil || !asked {
				t.Fatalf("seed %d: %v, answer: %v", seed+uint64(round), err, asked)
			}
			vars, err := h.Evaluate(only("expr"))
			got := outcome{Error: err != nil}
			if err == nil {
				got.Value = throughJSON(t, vars["expr"])
				values++
			}
			if got.Error != w.Error || !reflect.DeepEqual(plainNumbers(got.Value), plainNumbers(w.Value)) {
				t.Errorf("seed %d, %s\n got %s, %v\nwant %s\n%s", seed+uint64(round), h.Name, shown(got), err, shown(w), g.files["hosts.yaml"])
			}
		}
		if t.Failed() {
			return
		}
	}
	if values < rounds {
		t.Errorf("%d values of %d hosts: the generator proves little", values, 4*rounds)
	}
	t.Logf("%d rounds from seed %d, %d values", rounds, seed, values)
}
