package main

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// anchors are the headings of a page as links name them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	drop := regexp.MustCompile(`[^a-z0-9 _-]`)
	for _, line := range strings.Split(text, "\n") {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			name := drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			found[strings.ReplaceAll(name, " ", "-")] = true
		}
	}
	return found
}

// Every relative link leads somewhere, and docs/README.md and
// docs/decisions/README.md to every page beside them.
func TestLinks(t *testing.T) {
	linked := map[string]bool{}
	for _, page := range pages(t) {
		if filepath.Ext(page) != ".md" {
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(page, "../../../")
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			u, err := url.Parse(m[1])
			if err != nil || u.Scheme != "" {
				continue
			}
			target := page
			if u.Path != "" {
				target = filepath.Join(filepath.Dir(page), u.Path)
			}
			if filepath.Base(page) == "README.md" {
				linked[target] = true
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
			} else if u.Fragment != "" {
				there, err := os.ReadFile(target)
				if err != nil || !anchors(string(there))[u.Fragment] {
					t.Errorf("%s: link to %s: no such heading", name, m[1])
				}
			}
		}
	}
	for _, page := range pages(t) {
		if strings.HasPrefix(page, "../../../docs/") && filepath.Base(page) != "README.md" && !linked[page] {
			t.Errorf("%s: no README.md beside it leads to it", strings.TrimPrefix(page, "../../../"))
		}
	}
}
