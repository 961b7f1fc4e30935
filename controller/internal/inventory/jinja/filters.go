package jinja

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"math/big"
	"slices"
	"strings"
)

func sortedNames(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

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
