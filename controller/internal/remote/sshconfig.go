package remote

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxInclude is how deep OpenSSH lets Include directives nest.
const maxInclude = 16

// configLine is one directive of an ssh_config file or of -o.
type configLine struct {
	keyword string // lower case
	args    []string
	file    string // "" for the command line
	line    int
}

func (l configLine) where() string {
	if l.file == "" {
		return "ssh arguments"
	}
	return fmt.Sprintf("%s:%d", l.file, l.line)
}

// configReader reads ssh_config files. Relative Includes are looked up in dir.
type configReader struct {
	home string
	dir  string // ~/.ssh for the user's file, /etc/ssh for the system's
}

// read parses a file. One that does not exist is empty.
func (r configReader) read(file string, depth int) ([]configLine, error) {
	if depth > maxInclude {
		return nil, fmt.Errorf("read %s: Include directives nest deeper than %d", file, maxInclude)
	}
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ssh_config: %w", err)
	}
	return r.parse(content, file, depth)
}

func (r configReader) parse(content []byte, file string, depth int) ([]configLine, error) {
	var lines []configLine
	scanner := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; scanner.Scan(); n++ {
		l, ok, err := parseDirective(scanner.Text())
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		if !ok {
			continue
		}
		l.file, l.line = file, n
		if l.keyword != "include" {
			lines = append(lines, l)
			continue
		}
		included, err := r.include(l, depth)
		if err != nil {
			return nil, err
		}
		lines = append(lines, included...)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return lines, nil
}

// include reads the files of an Include. A Host or Match inside them ends with
// the Include, which the two marker lines tell the evaluation.
func (r configReader) include(l configLine, depth int) ([]configLine, error) {
	lines := []configLine{{keyword: includeBegin}}
	for _, pattern := range l.args {
		pattern = expandHome(pattern, r.home)
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(r.dir, pattern)
		}
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: include %s: %w", l.where(), pattern, err)
		}
		for _, f := range files {
			more, err := r.read(f, depth+1)
			if err != nil {
				return nil, err
			}
			lines = append(lines, configLine{keyword: includeFile})
			lines = append(lines, more...)
		}
	}
	return append(lines, configLine{keyword: includeEnd}), nil
}

// Pseudo keywords, which no file can hold since keywords have no spaces.
const (
	includeBegin = " include"
	includeFile  = " file"
	includeEnd   = " end"
)

// parseDirective splits "Keyword args" or "Keyword=args". ok is false for
// empty lines and comments.
func parseDirective(text string) (l configLine, ok bool, err error) {
	text = strings.TrimSpace(text)
	if text == "" || text[0] == '#' {
		return l, false, nil
	}
	end := strings.IndexAny(text, " \t=")
	if end < 0 {
		return l, false, fmt.Errorf("option %q has no value", text)
	}
	l.keyword = strings.ToLower(strings.Trim(text[:end], `"`))
	rest := strings.TrimLeft(text[end:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	if l.keyword == "proxycommand" || l.keyword == "remotecommand" {
		// The rest of the line is a command for a shell, quotes and all.
		l.args = []string{rest}
		return l, rest != "", nil
	}
	if l.args, err = configWords(rest); err != nil {
		return l, false, fmt.Errorf("option %s: %w", l.keyword, err)
	}
	if len(l.args) == 0 {
		return l, false, fmt.Errorf("option %s has no value", l.keyword)
	}
	return l, true, nil
}

// configWords splits arguments as OpenSSH's argv_split does: quotes of both
// kinds, a backslash before a quote, a backslash or a space, # begins a comment.
func configWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inWord := byte(0), false
	for i := 0; i < len(s); i++ {
		ch := s[i]
		switch {
		case ch == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\'' || s[i+1] == '\\' || s[i+1] == ' ' && quote == 0):
			i++
			word.WriteByte(s[i])
			inWord = true
		case quote != 0 && ch == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(ch)
		case ch == '"' || ch == '\'':
			quote, inWord = ch, true
		case ch == ' ' || ch == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case ch == '#' && !inWord:
			i = len(s)
		default:
			word.WriteByte(ch)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("quote %c is not closed", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// expandHome replaces a leading ~ by the home directory.
func expandHome(path, home string) string {
	if path == "~" {
		return home
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(home, rest)
	}
	return path
}

// patternList matches name against OpenSSH patterns with * and ?, ! negates:
// a negated match refuses whatever else matches.
func patternList(patterns []string, name string) bool {
	matched := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(p, "!")
		if !wildcard(p, name) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// wildcard matches * and ?, in time linear in the product of the lengths.
func wildcard(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
