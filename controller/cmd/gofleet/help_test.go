package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// tree is every command that gofleet itself defines.
func tree(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if c.Name() != "help" && c.Name() != "completion" {
			list = append(list, tree(c)...)
		}
	}
	return list
}

func newTree() *cobra.Command {
	root := newApp(nil, os.Stdout, os.Stderr, nil).command()
	root.InitDefaultHelpFlag()
	root.InitDefaultVersionFlag()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range tree(root) {
		c.InitDefaultHelpFlag()
	}
	return root
}

// Every command says what it does, shows how, and describes every flag.
func TestHelp(t *testing.T) {
	root := newTree()
	for _, c := range tree(root) {
		path := c.CommandPath()
		if c.Short == "" || c.Long == "" || c.Example == "" {
			t.Errorf("%s: short, long or example is missing", path)
		}
		if strings.ToLower(c.Short[:1]) != c.Short[:1] && c != root || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short is %q: want lower case and no full stop", path, c.Short)
		}
		if !strings.Contains(c.Example, path+" ") {
			t.Errorf("%s: no example uses it", path)
		}
		for _, line := range strings.Split(c.Long+"\n"+c.Example, "\n") {
			if len(line) > 90 {
				t.Errorf("%s: help has a line of %d characters: %s", path, len(line), line)
			}
		}
		for _, line := range strings.Split(c.Example, "\n") {
			checkLine(t, root, path+": example", line)
		}
	}
}

// shellEnd is where another command, a redirection or a comment begins.
var shellEnd = regexp.MustCompile(`\s(\||>|2>|&&|#|;|<|…)|[;)]`)

// substitution is the output of another command.
var substitution = regexp.MustCompile(`\$\([^)]*\)`)

// gofleetWords are the words behind the gofleet of a command line, or nil.
func gofleetWords(line string) []string {
	line = strings.TrimSpace(line)
	line = strings.TrimPrefix(strings.TrimPrefix(line, "$ "), "# ")
	for _, prefix := range []string{"sudo ", "bin/", "time "} {
		line = strings.TrimPrefix(line, prefix)
	}
	rest, ok := strings.CutPrefix(substitution.ReplaceAllString(line, "X"), "gofleet ")
	if !ok {
		return nil
	}
	if at := shellEnd.FindStringIndex(rest); at != nil {
		rest = rest[:at[0]]
	}
	return strings.Fields(rest)
}

// checkLine holds a command line against the commands and flags there are.
func checkLine(t *testing.T, root *cobra.Command, where, line string) {
	t.Helper()
	words := gofleetWords(line)
	if len(words) == 0 || strings.HasPrefix(words[0], "__") { // what completion asks by
		return
	}
	cmd, rest, err := root.Find(words)
	if err != nil {
		t.Errorf("%s: %s: %v", where, line, err)
		return
	}
	if cmd == root && !strings.HasPrefix(words[0], "-") && words[0] == strings.ToLower(words[0]) {
		t.Errorf("%s: %s: no command %s", where, line, words[0])
	}
	for _, word := range rest {
		if !hasFlag(cmd, word) {
			t.Errorf("%s: %s: %s has no %s", where, line, cmd.CommandPath(), word)
		}
	}
}

// hasFlag reports whether word is no flag, or one of cmd's.
func hasFlag(cmd *cobra.Command, word string) bool {
	word = strings.Trim(word, "[]'\".,")
	long, isLong := strings.CutPrefix(word, "--")
	switch {
	case isLong && long != "":
		name, _, _ := strings.Cut(long, "=")
		return cmd.Flags().Lookup(name) != nil || cmd.InheritedFlags().Lookup(name) != nil
	case len(word) > 1 && word[0] == '-' && !isLong:
		short := word[1:2]
		return cmd.Flags().ShorthandLookup(short) != nil || cmd.InheritedFlags().ShorthandLookup(short) != nil
	}
	return true
}

// pages are the documents for users.
func pages(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md", "inventory/*.yaml", "inventory/*/*"} {
		found, err := filepath.Glob(filepath.Join("../../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	return list
}

var inline = regexp.MustCompile("`([^`\n]+)`")

// Every gofleet command line and every flag that the documents show exists.
func TestDocuments(t *testing.T) {
	root := newTree()
	lines := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(page, "../../../")
		for _, line := range strings.Split(string(text), "\n") {
			code := []string{strings.TrimPrefix(line, "#")}
			for _, m := range inline.FindAllStringSubmatch(line, -1) {
				code = append(code, m[1])
				checkFlag(t, root, name, m[1])
			}
			for _, c := range code {
				if strings.HasPrefix(c, "gofleet ") && c == line && strings.HasSuffix(name, ".md") {
					continue // prose, not code, that begins with the word
				}
				if gofleetWords(c) != nil {
					lines++
				}
				checkLine(t, root, name, c)
			}
		}
	}
	if lines < 60 {
		t.Errorf("only %d command lines found: this test has stopped looking", lines)
	}
}

// foreign are flags of other programs that documents speak of.
var foreign = []string{"--with", "--upper", "--in", "--name", "--all", "--path", "--version"}

// checkFlag wants a flag that stands alone to be one of some command's.
func checkFlag(t *testing.T, root *cobra.Command, where, code string) {
	t.Helper()
	word, _, _ := strings.Cut(code, " ")
	if !strings.HasPrefix(word, "--") || slices.Contains(foreign, word) {
		return
	}
	for _, c := range tree(root) {
		if hasFlag(c, word) {
			return
		}
	}
	t.Errorf("%s: no command has %s", where, word)
}

// Man pages come out for every command that is not for programs.
func TestMan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	if code := run([]string{"man", dir}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, c := range tree(newTree()) {
		if c.Hidden {
			continue
		}
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(page), ".SH EXAMPLE") {
			t.Errorf("%s has no examples", name)
		}
		title := `.TH "` + strings.ToUpper(strings.TrimSuffix(name, ".1")) + `" "1" "" "gofleet `
		if !strings.Contains(string(page), title) {
			t.Errorf("%s does not begin with %s", name, title)
		}
	}
}
