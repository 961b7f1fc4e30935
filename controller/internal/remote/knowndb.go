package remote

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// knownDB is the content of some known_hosts files. A line counts for the
// hosts that it names and for no others, whatever its marker: golang.org/x's
// reader would take a @revoked line for every host.
type knownDB struct {
	lines []knownLine
	exact map[string][]int // lines by a name in them, where names are plain
	other []int            // lines that have to be matched: hashed, with wildcards or negation
}

// knownLine is one line.
type knownLine struct {
	marker string // "", markerAuthority or markerRevoked
	hosts  hostPattern
	key    ssh.PublicKey
	file   string
	line   int
}

const (
	markerAuthority = "@cert-authority"
	markerRevoked   = "@revoked"
)

// where names the line for the user. One that was added in this run has no number.
func (l *knownLine) where() string {
	if l.line == 0 {
		return l.file
	}
	return fmt.Sprintf("%s:%d", l.file, l.line)
}

// hostPattern is the first field of a line: a hashed name, or a list.
type hostPattern struct {
	salt, hash []byte   // of a hashed name
	list       []string // in lower case
}

// parseHostPattern reads the field.
func parseHostPattern(field string) (p hostPattern, err error) {
	rest, hashed := strings.CutPrefix(field, "|1|")
	if !hashed {
		if strings.HasPrefix(field, "|") {
			return p, errors.New("its name is hashed in a way that is not known")
		}
		p.list = strings.Split(strings.ToLower(field), ",")
		return p, nil
	}
	salt, hash, _ := strings.Cut(rest, "|")
	if p.salt, err = base64.StdEncoding.DecodeString(salt); err == nil {
		p.hash, err = base64.StdEncoding.DecodeString(hash)
	}
	if err != nil || len(p.hash) != sha1.Size {
		return p, errors.New("its hashed name is damaged")
	}
	return p, nil
}

// match tells whether name is meant, which is in lower case, and with a port
// other than 22 in the form [host]:port. So matches ssh.
func (p hostPattern) match(name string) bool {
	if p.hash == nil {
		return patternList(p.list, name)
	}
	mac := hmac.New(sha1.New, p.salt)
	mac.Write([]byte(name))
	return subtle.ConstantTimeCompare(mac.Sum(nil), p.hash) == 1
}

// plain tells whether the field is nothing but names.
func (p hostPattern) plain() bool {
	return p.hash == nil && !strings.ContainsAny(strings.Join(p.list, ""), "*?!")
}

// parseKnownLine reads a line. ok is false for empty lines and comments.
func parseKnownLine(text []byte) (l knownLine, ok bool, err error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[0] == '#' {
		return l, false, nil
	}
	fields := bytes.Fields(text)
	if fields[0][0] == '@' {
		l.marker = string(fields[0])
		if l.marker != markerAuthority && l.marker != markerRevoked {
			return l, false, fmt.Errorf("marker %q is not known", neutral(l.marker))
		}
		fields = fields[1:]
	}
	if len(fields) < 3 {
		return l, false, errors.New("it is not a name, a key type and a key")
	}
	if l.hosts, err = parseHostPattern(string(fields[0])); err != nil {
		return l, false, err
	}
	blob, err := base64.StdEncoding.DecodeString(string(fields[2]))
	if err != nil {
		return l, false, fmt.Errorf("its key is damaged: %w", err)
	}
	if l.key, err = ssh.ParsePublicKey(blob); err != nil {
		return l, false, fmt.Errorf("its key cannot be read: %w", err)
	}
	if l.key.Type() != string(fields[1]) {
		return l, false, fmt.Errorf("it says %q, but its key is of type %s", neutral(string(fields[1])), l.key.Type())
	}
	return l, true, nil
}

// add reads a file's content. skip is told of lines that cannot be read; where
// such a line may be a revocation it is an error, because leaving it out would
// let a key in.
func (db *knownDB) add(file string, content []byte, skip func(line int, err error)) error {
	scanner := bufio.NewScanner(bytes.NewReader(content))
	scanner.Buffer(nil, maxKnownLine)
	n := 0
	for scanner.Scan() {
		n++
		l, ok, err := parseKnownLine(scanner.Bytes())
		switch {
		case err != nil && bytes.HasPrefix(bytes.TrimSpace(scanner.Bytes()), []byte(markerRevoked)):
			return fmt.Errorf("%s:%d: a revoked key that cannot be read: %w", file, n, err)
		case err != nil:
			skip(n, err)
		case ok:
			l.file, l.line = file, n
			db.index(l)
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", file, n+1, err)
	}
	return nil
}

// maxKnownLine bounds a line of known_hosts; certificates and long lists of
// names fit.
const maxKnownLine = 1 << 20

func (db *knownDB) index(l knownLine) {
	i := len(db.lines)
	db.lines = append(db.lines, l)
	if !l.hosts.plain() {
		db.other = append(db.other, i)
		return
	}
	for _, name := range l.hosts.list {
		if at := db.exact[name]; len(at) == 0 || at[len(at)-1] != i {
			put(&db.exact, name, append(at, i))
		}
	}
}

// find gives the lines that name the host, in the order of the files.
func (db *knownDB) find(name string) []*knownLine {
	exact := db.exact[name]
	var out []*knownLine
	for _, i := range db.other {
		for len(exact) > 0 && exact[0] < i {
			out, exact = append(out, &db.lines[exact[0]]), exact[1:]
		}
		if db.lines[i].hosts.match(name) {
			out = append(out, &db.lines[i])
		}
	}
	for _, i := range exact {
		out = append(out, &db.lines[i])
	}
	return out
}

// knownName is how known_hosts calls a host: in lower case, and with a port
// other than 22 as [host]:port.
func knownName(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return strings.ToLower(addr)
	}
	if port == "22" {
		return strings.ToLower(host)
	}
	return "[" + strings.ToLower(host) + "]:" + port
}

// knownHostsLine is a line to add for a host; hash hides its name.
func knownHostsLine(addr string, key ssh.PublicKey, hash bool) string {
	name := knownName(addr)
	if hash {
		name = xknownhosts.HashHostname(name)
	}
	return name + " " + key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
}
