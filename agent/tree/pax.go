package tree

import (
	"bytes"
	"errors"
	"strings"
)

// extended is what stands before an entry's header and says more of it.
type extended struct {
	longName string // GNU's; "" if there is none
	// What PAX records say:
	path   string // "" if nothing
	size   int64  // -1 if nothing
	sparse bool
}

// parse reads the PAX records of one extended header, which replace those of
// an earlier one.
func (x *extended) parse(text []byte) error {
	*x = extended{longName: x.longName, size: -1}
	for len(text) > 0 {
		key, value, rest, ok := cutRecord(text)
		if !ok || !x.set(key, value) {
			return corrupt(errors.New("archive has an extended header that is garbled"))
		}
		text = rest
	}
	return nil
}

// cutRecord cuts the first record off: its whole length in decimal digits, a
// space, key, equals sign, value and a newline.
func cutRecord(text []byte) (key string, value, rest []byte, ok bool) {
	digits, _, ok := bytes.Cut(text, []byte{' '})
	if !ok {
		return "", nil, nil, false
	}
	n, ok := decimal(digits)
	if !ok || n > int64(len(text)) || n < int64(len(digits))+2 || text[n-1] != '\n' {
		return "", nil, nil, false
	}
	k, value, ok := bytes.Cut(text[len(digits)+1:n-1], []byte{'='})
	if !ok || len(k) == 0 || bytes.IndexByte(k, 0) >= 0 {
		return "", nil, nil, false
	}
	return string(k), value, text[n:], true
}

// set takes a record, and is false if its value is not what its key has. An
// empty value takes back what an earlier record said.
func (x *extended) set(key string, value []byte) (ok bool) {
	switch key {
	case "path":
		x.path = string(value)
		return bytes.IndexByte(value, 0) < 0
	case "linkpath", "uname", "gname":
		return bytes.IndexByte(value, 0) < 0
	case "size":
		x.size = -1
		if len(value) > 0 {
			x.size, ok = decimal(value)
			return ok
		}
	case "uid", "gid":
		_, ok = decimal(value)
		return ok || len(value) == 0
	case "atime", "ctime", "mtime":
		return isTime(value)
	default:
		x.sparse = x.sparse || strings.HasPrefix(key, "GNU.sparse.")
	}
	return true
}

// isTime knows seconds with or without a fraction, before or after 1970, and
// nothing at all.
func isTime(value []byte) bool {
	if len(value) == 0 {
		return true
	}
	seconds, fraction, dot := bytes.Cut(bytes.TrimPrefix(value, []byte{'-'}), []byte{'.'})
	_, ok := decimal(seconds)
	if ok && dot && len(fraction) > 0 {
		_, ok = decimal(fraction)
	}
	return ok
}

// decimal reads digits, no more than an int64 holds whatever they are.
func decimal(b []byte) (n int64, ok bool) {
	const most = 18
	if len(b) == 0 || len(b) > most {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
