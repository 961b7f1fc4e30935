package jinja

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// shellQuote is Python's shlex.quote.
func shellQuote(s string) string {
	safe := func(c rune) bool {
		return c < 128 && (c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) || strings.ContainsRune("@%+=:,./-", c))
	}
	if s != "" && strings.IndexFunc(s, func(c rune) bool { return !safe(c) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

func hashFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("hash", "hashtype")
	if err != nil {
		return nil, err
	}
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	var sum []byte
	switch kind := in[0]; kind {
	case nil, "sha1":
		h := sha1.Sum([]byte(s))
		sum = h[:]
	case "md5":
		h := md5.Sum([]byte(s))
		sum = h[:]
	case "sha224":
		h := sha256.Sum224([]byte(s))
		sum = h[:]
	case "sha256":
		h := sha256.Sum256([]byte(s))
		sum = h[:]
	case "sha384":
		h := sha512.Sum384([]byte(s))
		sum = h[:]
	case "sha512":
		h := sha512.Sum512([]byte(s))
		sum = h[:]
	default:
		return nil, fmt.Errorf("the hash %v is not known", kind)
	}
	return hex.EncodeToString(sum), nil
}

func b64decode(r *Run, v any, _ *args) (any, error) {
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return nil, errors.New("this is not base64")
	}
	return strings.ToValidUTF8(string(b), "\uFFFD"), nil
}

func urlencode(r *Run, v any, _ *args) (any, error) {
	one := func(v any, safe string) (string, error) {
		s, err := r.Str(v)
		var b strings.Builder
		for _, c := range []byte(s) {
			if c < 128 && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) || strings.IndexByte("_.-~"+safe, c) >= 0) {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		return b.String(), err
	}
	if s, ok := v.(string); ok {
		return one(s, "/")
	}
	d, ok, err := r.Dict(v)
	if err != nil {
		return nil, err
	}
	if !ok {
		return one(v, "/")
	}
	var parts []string
	for i, k := range d.keys {
		key, err := one(k, " ")
		if err != nil {
			return nil, err
		}
		val, err := one(d.vals[i], " ")
		if err != nil {
			return nil, err
		}
		parts = append(parts, key+"="+val)
	}
	return strings.ReplaceAll(strings.Join(parts, "&"), " ", "+"), nil
}

func toJSON(indent int) pluginFunc {
	return func(r *Run, v any, a *args) (any, error) {
		in, err := a.take("to_json", "indent", "sort_keys", "ensure_ascii", "vault_to_text", "preprocess_unsafe")
		if err != nil {
			return nil, err
		}
		w := writer{run: r, indent: indent, ascii: true, sort: indent > 0}
		if n, ok := in[0].(int64); ok && n >= 0 && n <= 64 {
			w.indent = int(n)
		}
		if in[1] != nil {
			if w.sort, err = r.truth(in[1]); err != nil {
				return nil, err
			}
		}
		if in[2] != nil {
			if w.ascii, err = r.truth(in[2]); err != nil {
				return nil, err
			}
		}
		if err := w.json(v); err != nil {
			return nil, err
		}
		return w.b.String(), r.text(w.b.Len())
	}
}

func fromJSON(r *Run, v any, _ *args) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("JSON is text, and this is %s", typeName(v))
	}
	return r.load("json", r.engine.hooks.LoadJSON, s)
}

func fromYAML(r *Run, v any, _ *args) (any, error) {
	s, ok := v.(string)
	if !ok {
		return v, nil
	}
	return r.load("yaml", r.engine.hooks.LoadYAML, s)
}

func (r *Run) load(what string, f func(string) (any, error), s string) (any, error) {
	if f == nil {
		return nil, unknown("filter", "from_"+what)
	}
	if err := r.spend(len(s)); err != nil {
		return nil, err
	}
	return f(s)
}
