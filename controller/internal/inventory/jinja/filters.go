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
	"maps"
	"math"
	"math/big"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

func sortedNames(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// textFilter makes a filter of a function of text without arguments.
func textFilter(f func(string) string) pluginFunc {
	return func(r *Run, v any, a *args) (any, error) {
		if _, err := a.take("the filter"); err != nil {
			return nil, err
		}
		s, err := r.Str(v)
		if err != nil {
			return nil, err
		}
		s = f(s)
		return s, r.text(len(s))
	}
}

// allFilters are those of Jinja2 and ansible.builtin that gofleet has.
func allFilters() map[string]pluginFunc {
	t := map[string]pluginFunc{
		"upper": textFilter(upper), "lower": textFilter(strings.ToLower),
		"capitalize": textFilter(capitalize), "title": textFilter(titleFilter),
		"basename": textFilter(func(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }),
		"dirname":  textFilter(dirname),
		"quote":    textFilter(shellQuote), "regex_escape": textFilter(regexEscape),
		"b64encode": textFilter(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
		"string":    textFilter(func(s string) string { return s }),
		"md5":       textFilter(func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }),
		"sha1":      textFilter(func(s string) string { h := sha1.Sum([]byte(s)); return hex.EncodeToString(h[:]) }),
		"checksum":  textFilter(func(s string) string { h := sha1.Sum([]byte(s)); return hex.EncodeToString(h[:]) }),
		"hash":      hashFilter, "b64decode": b64decode, "urlencode": urlencode,
		"default": defaultFilter, "mandatory": mandatory, "type_debug": typeDebug,
		"int": intFilter, "float": floatFilter, "bool": boolFilter, "abs": absFilter, "round": roundFilter,
		"trim": trimFilter, "replace": replaceFilter, "split": splitFilter, "join": joinFilter,
		"format": formatFilter, "splitext": splitext, "ternary": ternary, "indent": indentFilter,
		"regex_replace": regexReplace, "regex_search": regexSearch, "regex_findall": regexFindall,
		"to_json": toJSON(0), "to_nice_json": toJSON(4), "from_json": fromJSON, "from_yaml": fromYAML,
		"wordcount": func(r *Run, v any, _ *args) (any, error) {
			s, err := r.Str(v)
			return int64(len(strings.Fields(s))), err
		},
		"path_join": pathJoin,
	}
	t["d"], t["count"] = t["default"], lengthFilter
	maps.Copy(t, listFilters())
	maps.Copy(t, dictFilters())
	return t
}

// upper is Python's, for which the capital of ß is SS.
func upper(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "ß", "SS")) }

func capitalize(s string) string {
	rs := []rune(strings.ToLower(s))
	if len(rs) > 0 {
		rs[0] = unicode.ToTitle(rs[0])
	}
	return string(rs)
}

// titleFilter is Jinja2's title: a new word after space, -, ( and the like.
func titleFilter(s string) string {
	start := true
	return strings.Map(func(c rune) rune {
		was := start
		start = unicode.IsSpace(c) || strings.ContainsRune("-({[<", c)
		if was {
			return unicode.ToTitle(c)
		}
		return unicode.ToLower(c)
	}, s)
}

// dirname is Python's os.path.dirname.
func dirname(s string) string {
	head := s[:strings.LastIndexByte(s, '/')+1]
	if strings.Trim(head, "/") != "" {
		head = strings.TrimRight(head, "/")
	}
	return head
}

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

func defaultFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("default", "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	if in[0] == nil && len(a.pos) == 0 {
		if _, given := a.named["default_value"]; !given {
			in[0] = ""
		}
	}
	if _, ok := v.(*Undefined); ok {
		return in[0], nil
	}
	if in[1] != nil {
		also, err := r.truth(in[1])
		if err != nil {
			return nil, err
		}
		yes, err := r.truth(v)
		if err != nil {
			return nil, err
		}
		if also && !yes {
			return in[0], nil
		}
	}
	return v, nil
}

func mandatory(r *Run, v any, a *args) (any, error) {
	in, err := a.take("mandatory", "msg")
	u, ok := v.(*Undefined)
	switch {
	case err != nil || !ok:
		return v, err
	case in[0] != nil:
		s, err := r.Str(in[0])
		if err != nil {
			return nil, err
		}
		return nil, errors.New(s)
	}
	return nil, errors.New(u.Msg)
}

func typeDebug(_ *Run, v any, _ *args) (any, error) {
	switch v := v.(type) {
	case nil:
		return "NoneType", nil
	case bool:
		return "bool", nil
	case int64, *big.Int:
		return "int", nil
	case float64:
		return "float", nil
	case string:
		return "str", nil
	case *List:
		if v.Tuple {
			return "tuple", nil
		}
		return "list", nil
	}
	return "dict", nil
}

func intFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("int", "default", "base")
	if err != nil {
		return nil, err
	}
	fallback := in[0]
	if fallback == nil {
		fallback = int64(0)
	}
	base := int64(10)
	if b, ok := in[1].(int64); ok {
		base = b
	}
	switch v := v.(type) {
	case bool, int64, *big.Int:
		b, _ := bigOf(v)
		return small(b), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fallback, nil
		}
		n, _ := big.NewFloat(v).Int(nil)
		return small(n), nil
	case string:
		if n, ok := pythonInt(v, int(base)); ok {
			return n, nil
		}
		if f, ok := pythonFloatOf(v); ok && !math.IsNaN(f) && !math.IsInf(f, 0) {
			n, _ := big.NewFloat(f).Int(nil)
			return small(n), nil
		}
	}
	return fallback, nil
}

// pythonInt is int(text, base).
func pythonInt(s string, base int) (any, bool) {
	s = strings.TrimSpace(s)
	bare := strings.TrimLeft(s, "+-")
	if len(s)-len(bare) > 1 || strings.HasPrefix(bare, "_") || strings.HasSuffix(bare, "_") || strings.Contains(bare, "__") || len(s) > 4000 {
		return nil, false
	}
	for p, b := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
		if b == base && len(bare) > 2 && strings.EqualFold(bare[:2], p) {
			s = strings.TrimSuffix(s, bare) + bare[2:]
		}
	}
	if base < 2 || base > 36 {
		return nil, false
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(s, "_", ""), base)
	if !ok {
		return nil, false
	}
	return small(n), true
}

// pythonFloatOf is float(text).
func pythonFloatOf(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, "xXpP") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if errors.Is(err, strconv.ErrRange) {
		err = nil
	}
	return f, err == nil
}

func floatFilter(_ *Run, v any, a *args) (any, error) {
	in, err := a.take("float", "default")
	if err != nil {
		return nil, err
	}
	if f, ok := floatOf(v); ok {
		return f, nil
	}
	if s, ok := v.(string); ok {
		if f, ok := pythonFloatOf(s); ok {
			return f, nil
		}
	}
	if in[0] != nil {
		return in[0], nil
	}
	return 0.0, nil
}

func boolFilter(_ *Run, v any, _ *args) (any, error) {
	switch x := v.(type) {
	case bool:
		return x, nil
	case string:
		switch strings.ToLower(x) {
		case "yes", "on", "1", "true", "t", "y":
			return true, nil
		}
	case int64:
		return x == 1, nil
	case float64:
		return x == 1, nil
	}
	return false, nil
}

func absFilter(r *Run, v any, _ *args) (any, error) {
	switch v := v.(type) {
	case float64:
		return math.Abs(v), nil
	case int64, *big.Int, bool:
		b, _ := bigOf(v)
		return small(new(big.Int).Abs(b)), nil
	}
	return nil, fmt.Errorf("%s has no absolute value", typeName(v))
}

func roundFilter(_ *Run, v any, a *args) (any, error) {
	in, err := a.take("round", "precision", "method")
	if err != nil {
		return nil, err
	}
	f, ok := floatOf(v)
	if !ok {
		return nil, fmt.Errorf("%s can't be rounded", typeName(v))
	}
	digits, _ := in[0].(int64)
	if digits < -300 || digits > 300 {
		return nil, errors.New("more than 300 digits")
	}
	scale := math.Pow(10, float64(digits))
	switch in[1] {
	case nil, "common":
		if _, isInt := bigOf(v); isInt && digits >= 0 {
			return v, nil
		}
		if digits >= 0 { // Python rounds the exact decimal value
			f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64)
			return f, nil
		}
		return math.RoundToEven(f*scale) / scale, nil
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "floor":
		return math.Floor(f*scale) / scale, nil
	}
	return nil, fmt.Errorf("the method %v is not known", in[1])
}

func trimFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("trim", "chars")
	if err != nil {
		return nil, err
	}
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	if chars, ok := in[0].(string); ok {
		return strings.Trim(s, chars), nil
	}
	return strings.TrimSpace(s), nil
}

func replaceFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("replace", "old!", "new!", "count")
	if err != nil {
		return nil, err
	}
	var text [3]string
	for i, x := range []any{v, in[0], in[1]} {
		if text[i], err = r.Str(x); err != nil {
			return nil, err
		}
	}
	n := -1
	if c, ok := in[2].(int64); ok {
		n = int(c)
	}
	return r.replaceText(text[0], text[1], text[2], n)
}

func (r *Run) replaceText(s, old, with string, n int) (any, error) {
	count := strings.Count(s, old)
	if n >= 0 {
		count = min(count, n)
	}
	if err := r.text(len(s) + count*len(with)); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, with, n), nil
}

func splitFilter(r *Run, v any, a *args) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("%s can't be split", typeName(v))
	}
	return splitMethod(r, s, a, false)
}

func joinFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("join", "d", "attribute")
	if err != nil {
		return nil, err
	}
	sep := ""
	if in[0] != nil {
		if sep, err = r.Str(in[0]); err != nil {
			return nil, err
		}
	}
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(items))
	n := 0
	for i, item := range items {
		if item, err = r.attributeOf(item, in[1]); err != nil {
			return nil, err
		}
		if texts[i], err = r.Str(item); err != nil {
			return nil, err
		}
		n += len(texts[i]) + len(sep)
	}
	if err := r.text(n); err != nil {
		return nil, err
	}
	return strings.Join(texts, sep), nil
}

func formatFilter(r *Run, v any, a *args) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("%s is no format", typeName(v))
	}
	if len(a.named) > 0 {
		d, err := dictOf(r, &args{named: a.named})
		if err != nil {
			return nil, err
		}
		return r.percent(s, d)
	}
	return r.percent(s, newTuple(a.pos...))
}

func splitext(r *Run, v any, _ *args) (any, error) {
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	name := s[strings.LastIndexByte(s, '/')+1:]
	dot := strings.LastIndexByte(strings.TrimLeft(name, "."), '.')
	if dot < 0 {
		return newTuple(s, ""), nil
	}
	cut := len(s) - len(strings.TrimLeft(name, ".")) + dot
	return newTuple(s[:cut], s[cut:]), nil
}

func pathJoin(r *Run, v any, _ *args) (any, error) {
	items := []any{v}
	if _, ok := v.(string); !ok {
		var err error
		if items, err = r.iterate(v); err != nil {
			return nil, err
		}
	}
	out := ""
	for _, item := range items {
		s, err := r.Str(item)
		if err != nil {
			return nil, err
		}
		switch {
		case path.IsAbs(s), out == "":
			out = s
		case strings.HasSuffix(out, "/"):
			out += s
		default:
			out += "/" + s
		}
	}
	return out, r.text(len(out))
}

func ternary(r *Run, v any, a *args) (any, error) {
	in, err := a.take("ternary", "true_val!", "false_val!", "none_val")
	if err != nil {
		return nil, err
	}
	if v == nil && in[2] != nil {
		return in[2], nil
	}
	yes, err := r.truth(v)
	if yes {
		return in[0], err
	}
	return in[1], err
}

func indentFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("indent", "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	pad := "    "
	switch w := in[0].(type) {
	case int64:
		if w < 0 || w > 1000 {
			return nil, errors.New("an indent is at most 1000 wide")
		}
		pad = strings.Repeat(" ", int(w))
	case string:
		pad = w
	}
	var flags [2]bool
	for i, f := range in[1:] {
		if f != nil {
			if flags[i], err = r.truth(f); err != nil {
				return nil, err
			}
		}
	}
	lines := strings.Split(s, "\n")
	if err := r.text(len(s) + len(lines)*len(pad)); err != nil {
		return nil, err
	}
	for i, line := range lines {
		if (i > 0 || flags[0]) && (line != "" || flags[1]) {
			lines[i] = pad + line
		}
	}
	return strings.Join(lines, "\n"), nil
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
