package remote

import (
	"errors"
	"fmt"
	"strings"
)

// sshArgs are words of ssh's command line, sorted out.
type sshArgs struct {
	options []configLine
	config  string // of -F
}

// shortOptions are ssh's options with a value that mean an ssh_config option.
var shortOptions = map[byte]string{'i': "identityfile", 'p': "port", 'l': "user", 'J': "proxyjump", 'b': "bindaddress", 'c': "ciphers", 'm': "macs", 'P': "tag", 'B': "bindinterface", 'I': "pkcs11provider"}

// flagOptions are ssh's flags that mean an ssh_config option.
var flagOptions = map[byte]configLine{
	'4': {keyword: "addressfamily", args: []string{"inet"}}, '6': {keyword: "addressfamily", args: []string{"inet6"}},
	't': {keyword: "requesttty", args: []string{"yes"}}, 'T': {keyword: "requesttty", args: []string{"no"}},
}

// harmless are ssh's flags that mean nothing here: forwarding,
// compression, sharing and verbosity.
const harmless = "AaCfGgKkMNnqsVvXxYy"

// harmlessWithValue are such flags that take a value.
const harmlessWithValue = "DeELRS"

// parseArgs reads the words of ansible_ssh_common_args and its kin.
func parseArgs(words []string) (sshArgs, error) {
	var a sshArgs
	for i := 0; i < len(words); i++ {
		w := words[i]
		if len(w) < 2 || w[0] != '-' || w == "--" {
			return a, fmt.Errorf("ssh argument %q is not an option", w)
		}
		for rest := w[1:]; rest != ""; {
			letter := rest[0]
			rest = rest[1:]
			if strings.IndexByte(harmless, letter) >= 0 {
				continue
			}
			if l, ok := flagOptions[letter]; ok {
				a.options = append(a.options, l)
				continue
			}
			value := rest
			rest = ""
			if value == "" {
				if i++; i == len(words) {
					return a, fmt.Errorf("ssh argument -%c needs a value", letter)
				}
				value = words[i]
			}
			if err := a.add(letter, value); err != nil {
				return a, err
			}
		}
	}
	return a, nil
}

func (a *sshArgs) add(letter byte, value string) error {
	keyword, short := shortOptions[letter]
	switch {
	case letter == 'F':
		a.config = value
	case letter == 'o':
		l, ok, err := parseDirective(value)
		if err != nil {
			return fmt.Errorf("ssh argument -o %q: %w", value, err)
		}
		if !ok {
			return fmt.Errorf("ssh argument -o %q has no value", value)
		}
		if l.keyword == "include" || l.keyword == "host" || l.keyword == "match" {
			return fmt.Errorf("ssh argument -o %q: %s belongs into a file", value, l.keyword)
		}
		a.options = append(a.options, l)
	case short:
		a.options = append(a.options, configLine{keyword: keyword, args: []string{value}})
	case strings.IndexByte(harmlessWithValue, letter) >= 0:
	default:
		return fmt.Errorf("ssh argument -%c is not supported", letter)
	}
	return nil
}

// splitWords splits a string as a POSIX shell and Python's shlex do.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		ch := runes[i]
		switch {
		case quote == '\'' && ch != '\'', quote == '"' && ch != '"' && ch != '\\':
			word.WriteRune(ch)
		case quote != 0 && ch == quote:
			quote = 0
		case quote == '"': // a backslash
			if i+1 < len(runes) && (runes[i+1] == '"' || runes[i+1] == '\\') {
				i++
			}
			word.WriteRune(runes[i])
		case ch == '\'' || ch == '"':
			quote, inWord = ch, true
		case ch == '\\':
			if i++; i == len(runes) {
				return nil, errors.New("a backslash at the end escapes nothing")
			}
			word.WriteRune(runes[i])
			inWord = true
		case ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(ch)
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
