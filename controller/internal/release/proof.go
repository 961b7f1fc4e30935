package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// GoSumDB is the verifier key of the Go checksum database.
const GoSumDB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

// EvidenceSuffix is what the name of an evidence file has behind its archive's.
const EvidenceSuffix = ".evidence"

// maxEvidence bounds an evidence file; real ones have about 60 KB.
const maxEvidence = 1 << 20

const evidenceFormat = "gofleet-evidence/v1"

// Proof is the content of an evidence file: what the checksum database says of
// the toolchain module that an archive was made from or stands for, and all it
// takes to check that with nothing but the database's public key.
//
// Its text has one form only, and every byte of it is checked:
//
//	gofleet-evidence/v1
//	file go1.26.8.linux-amd64.module.tar.gz
//	h1 h1:…
//	record 39542109
//		golang.org/toolchain v0.0.1-go1.26.8.linux-amd64 h1:…
//		golang.org/toolchain v0.0.1-go1.26.8.linux-amd64/go.mod h1:…
//	head
//		go.sum database tree
//		…
//	tile tile/8/0/x154/461.p/29 <base64>
//	sha256 <of all the lines above>
type Proof struct {
	File   string            // the archive's name
	H1     string            // hash of the module, as in go.sum
	ID     int64             // number of the record in the log
	Record string            // the record's lines
	Head   string            // the signed tree head, a note
	Tiles  map[string][]byte // path in the log to content
}

// Encode gives the text of the evidence file.
func (p *Proof) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nfile %s\nh1 %s\nrecord %d\n", evidenceFormat, p.File, p.H1, p.ID)
	indent(&b, p.Record)
	b.WriteString("head\n")
	indent(&b, p.Head)
	for _, path := range slices.Sorted(maps.Keys(p.Tiles)) {
		fmt.Fprintf(&b, "tile %s %s\n", path, base64.StdEncoding.EncodeToString(p.Tiles[path]))
	}
	sum := sha256.Sum256(b.Bytes())
	fmt.Fprintf(&b, "sha256 %x\n", sum)
	return b.Bytes()
}

func indent(b *bytes.Buffer, text string) {
	for line := range strings.Lines(text) {
		b.WriteString("\t" + line)
	}
}

// ParseProof reads the text of an evidence file. It accepts exactly what
// Encode writes; whether the proof holds, Verify says.
func ParseProof(text []byte) (*Proof, error) {
	if len(text) > maxEvidence {
		return nil, fmt.Errorf("evidence is longer than %d bytes", maxEvidence)
	}
	body, sum, err := cutSum(text)
	if err != nil {
		return nil, err
	}
	if got := sha256.Sum256(body); hex.EncodeToString(got[:]) != sum {
		return nil, errors.New("evidence is damaged: its own sha256 does not fit")
	}
	l := lineReader{lines: strings.SplitAfter(string(body), "\n")}
	p := &Proof{Tiles: map[string][]byte{}}
	l.expect(evidenceFormat)
	p.File = l.field("file")
	p.H1 = l.field("h1")
	id := l.field("record")
	p.Record = l.block()
	l.expect("head")
	p.Head = l.block()
	for l.err == nil && l.more() {
		path, data, _ := strings.Cut(l.field("tile"), " ")
		tile, err := base64.StdEncoding.Strict().DecodeString(data)
		if err != nil {
			return nil, fmt.Errorf("evidence: %s: %w", path, err)
		}
		p.Tiles[path] = tile
	}
	if l.err != nil {
		return nil, l.err
	}
	if p.ID, err = strconv.ParseInt(id, 10, 64); err != nil || p.ID < 0 {
		return nil, fmt.Errorf("evidence: %q is not the number of a record", id)
	}
	if !bytes.Equal(p.Encode(), text) {
		return nil, errors.New("evidence is not written as gofleet writes it")
	}
	return p, nil
}

// cutSum splits off the last line, which is about all those above it.
func cutSum(text []byte) (body []byte, sum string, err error) {
	i := bytes.LastIndex(text, []byte("\nsha256 "))
	if i < 0 {
		return nil, "", errors.New("evidence ends early, or is none: it has no sha256 line")
	}
	line := string(text[i+1:])
	return text[:i+1], strings.TrimSuffix(strings.TrimPrefix(line, "sha256 "), "\n"), nil
}

// lineReader takes lines that each have a known first word.
type lineReader struct {
	lines []string
	n     int
	err   error
}

func (l *lineReader) more() bool { return l.n < len(l.lines) && l.lines[l.n] != "" }

func (l *lineReader) next() string {
	if l.err == nil && !l.more() {
		l.err = fmt.Errorf("evidence line %d: ends early", l.n+1)
	}
	if l.err != nil {
		return ""
	}
	l.n++
	return strings.TrimSuffix(l.lines[l.n-1], "\n")
}

func (l *lineReader) expect(want string) {
	if got := l.next(); l.err == nil && got != want {
		l.err = fmt.Errorf("evidence line %d: wants %q", l.n, want)
	}
}

func (l *lineReader) field(name string) string {
	value, ok := strings.CutPrefix(l.next(), name+" ")
	if l.err == nil && !ok {
		l.err = fmt.Errorf("evidence line %d: wants %q and a value", l.n, name)
	}
	return value
}

func (l *lineReader) block() string {
	var b strings.Builder
	for l.err == nil && l.more() && l.lines[l.n][0] == '\t' {
		b.WriteString(l.next()[1:] + "\n")
	}
	return b.String()
}

// Verify proves, with no network, that the database whose verifier key is
// given has recorded the hash, and gives it. name is the archive's.
func (p *Proof) Verify(key string, name Name) (h1 string, err error) {
	if p.File != name.String() {
		return "", fmt.Errorf("evidence is for %s", p.File)
	}
	if err := p.checkHead(key); err != nil {
		return "", err
	}
	record, err := tlog.FormatRecord(p.ID, []byte(p.Record))
	if err != nil {
		return "", fmt.Errorf("evidence: %w", err)
	}
	ops := &offline{key: key, files: map[string][]byte{
		lookupPath(name): append(record, p.Head...),
	}, used: map[string]bool{}}
	for path, tile := range p.Tiles {
		ops.files["/"+path] = tile
	}
	h1, err = lookup(ops, name)
	if err != nil {
		return "", fmt.Errorf("evidence: %w", err)
	}
	for path := range ops.files {
		if !ops.used[path] {
			return "", fmt.Errorf("evidence: %s is no part of the proof", path)
		}
	}
	if p.H1 != h1 {
		return "", fmt.Errorf("evidence says %s, the checksum database %s", p.H1, h1)
	}
	return h1, nil
}

// checkHead wants exactly one signature, in its one spelling: the database's.
// note.Open passes over signatures by others, which no hash would cover here.
func (p *Proof) checkHead(key string) error { return checkHead(key, p.Head) }

func checkHead(key, head string) error {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return fmt.Errorf("checksum database key: %w", err)
	}
	n, err := note.Open([]byte(head), note.VerifierList(verifier))
	if err != nil {
		return fmt.Errorf("evidence: tree head: %w", err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return errors.New("evidence: tree head has signatures that nobody can check")
	}
	if _, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil {
		return fmt.Errorf("evidence: tree head: %w", err)
	}
	return nil
}

// lookupPath is where a checksum database answers about an archive's module.
func lookupPath(n Name) string { return "/lookup/" + modulePath + "@" + n.moduleVersion() }

// lookup asks a checksum database for the hash of the archive's module, with
// every proof checked.
func lookup(ops sumdb.ClientOps, n Name) (h1 string, err error) {
	lines, err := sumdb.NewClient(ops).Lookup(modulePath, n.moduleVersion())
	if err != nil {
		return "", err
	}
	if len(lines) != 1 {
		return "", fmt.Errorf("checksum database has %d hashes for %s", len(lines), n.moduleVersion())
	}
	return strings.TrimPrefix(lines[0], modulePath+" "+n.moduleVersion()+" "), nil
}

// offline is a checksum database that is a handful of files. It starts with no
// earlier tree head, so that proofs are made against the one that is there.
type offline struct {
	key   string
	files map[string][]byte
	mu    sync.Mutex
	used  map[string]bool
}

func (o *offline) ReadRemote(path string) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	data, ok := o.files[path]
	if !ok {
		return nil, fmt.Errorf("%s is not in the evidence", path)
	}
	o.used[path] = true
	return data, nil
}

func (o *offline) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(o.key), nil
	}
	return nil, nil
}

func (o *offline) WriteConfig(string, []byte, []byte) error { return nil }
func (o *offline) ReadCache(string) ([]byte, error)         { return nil, fs.ErrNotExist }
func (o *offline) WriteCache(string, []byte)                {}
func (o *offline) Log(string)                               {}
func (o *offline) SecurityError(msg string)                 {}
