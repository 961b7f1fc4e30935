package account

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB a"
	keyB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC b"
)

func comment(key, c string) string { return key[:strings.LastIndex(key, " ")+1] + c }

func TestMergeKeys(t *testing.T) {
	for _, c := range []struct {
		name, content string
		want, owned   []string
		after         string
		ours          []string
		lost          bool
		shadowed      int
	}{
		{name: "empty", want: []string{keyA}, after: keyA + "\n", ours: []string{keyA}},
		{name: "there already, not ours", content: keyA + "\n", want: []string{keyA}, after: keyA + "\n"},
		{name: "there with another comment", content: comment(keyA, "x") + "\n", want: []string{keyA}, after: comment(keyA, "x") + "\n"},
		{name: "ours with another comment goes too", content: comment(keyA, "x y") + "\n" + keyB + "\n", owned: []string{keyA}, after: keyB + "\n"},
		{name: "lost", content: keyB, want: []string{keyA}, owned: []string{keyA}, after: keyB + "\n" + keyA + "\n", ours: []string{keyA}, lost: true},
		{name: "theirs with options stays, and is told", content: "restrict " + keyA + "\n", want: []string{keyA},
			after: "restrict " + keyA + "\n" + keyA + "\n", ours: []string{keyA}, shadowed: 1},
		{name: "ours with options changes", content: "restrict " + keyA + "\n", want: []string{keyA}, owned: []string{"restrict " + keyA},
			after: keyA + "\n", ours: []string{keyA}},
		{name: "CRLF, comments and junk stay", content: "# " + keyA + "\r\njunk\r\n" + keyB + "\r\n", want: []string{keyB}, owned: []string{keyA},
			after: "# " + keyA + "\r\njunk\r\n" + keyB + "\r\n"},
		{name: "twice wanted", want: []string{keyA, comment(keyA, "again")}, after: keyA + "\n", ours: []string{keyA}},
	} {
		got := mergeKeys([]byte(c.content), c.want, c.owned, false)
		if string(got.content) != c.after || !slices.Equal(got.owned, c.ours) || got.lost != c.lost || len(got.shadowed) != c.shadowed {
			t.Errorf("%s: content %q owned %q lost %v shadowed %q", c.name, got.content, got.owned, got.lost, got.shadowed)
		}
	}
}

// Whatever stands in a file that others write, adding keys and dropping them
// again leaves it as it was, and adding twice is adding once.
func FuzzMergeKeys(f *testing.F) {
	for _, s := range []string{"", "x", keyA, keyA + "\n" + keyB, "restrict " + keyA + "\r\n", "\n\n#\n", "command=\"a b\" " + keyB + "\n", "\x00\xff\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		want := []string{keyA, keyB}
		once := mergeKeys(content, want, nil, false)
		twice := mergeKeys(once.content, want, once.owned, false)
		if !bytes.Equal(once.content, twice.content) || !slices.Equal(once.owned, twice.owned) || twice.lost {
			t.Errorf("not idempotent: %q then %q", once.content, twice.content)
		}
		back := mergeKeys(once.content, nil, once.owned, false)
		expect := content
		if len(once.added) > 0 && len(content) > 0 && content[len(content)-1] != '\n' {
			expect = append(slices.Clone(content), '\n')
		}
		if !bytes.Equal(back.content, expect) {
			t.Errorf("%q comes back as %q", content, back.content)
		}
	})
}

func TestRuleText(t *testing.T) {
	got, err := ruleText(wanted{&spec.User{Name: "jane@corp.example", Sudo: []string{"/usr/bin/systemctl restart app.service", `/bin/ls ""`, "/usr/bin/a=b,c:d x=1,y:2 #3", "/bin/sh   -c  [!a]*?^"}}, "gofleet_user"})
	want := fmt.Sprintf(ruleHeader, "") + `jane\@corp.example ALL=(root) NOPASSWD: /usr/bin/systemctl restart app.service, /bin/ls "", /usr/bin/a\=b\,c\:d x\=1\,y\:2 \#3, /bin/sh -c  \[\!a\]\*\?\^` + "\n"
	if err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	for _, bad := range []string{"", "ls", "ALL", "/", "/bin/", "/bin/../sh", "/bin/a*b", "/bin/a\\b", "/bin/ls a\\b", "/bin/ls \"a\"", "/bin/ls a\nb", "/bin/ls\ta", "/bin/é", "//bin/ls", "!/bin/sh", "/bin/ls \x7f"} {
		if s, err := escapeCommand(bad); err == nil {
			t.Errorf("command %q is written as %q", bad, s)
		}
	}
	for name, file := range map[string]string{"deploy": "gofleet-deploy", "a.b~": "gofleet-a_b_", "x_y": "gofleet-x_y"} {
		if got := rulePath(name); got != sudoersDir+"/"+file {
			t.Errorf("rulePath(%q) = %s", name, got)
		}
	}
}
