package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// programTime is how long a program may take unless the options say more.
	programTime = 5 * time.Minute
	// maxProgramOutput bounds what a program may print: 100,000 hosts with
	// 2 KB of variables each are 200 MB.
	maxProgramOutput = 256 << 20
	// maxProgramErrors bounds what is kept of its standard error.
	maxProgramErrors = 16 << 10
)

// output is what a program printed.
type output struct {
	stdout []byte
	stderr string // safe to show
}

// startError says that a program could not even be started.
type startError struct{ err, cause error }

func (e *startError) Error() string { return e.err.Error() }
func (e *startError) Unwrap() error { return e.cause }

// run runs a program to its end. It gets the options' environment and working
// directory, nothing on standard input, and neither more time nor more output
// than the bounds; its children end with it.
func (r *reader) run(src *source, path string, args ...string) (*output, error) {
	limit := r.options.ProgramTimeout
	if limit == 0 {
		limit = programTime
	}
	ctx, cancel := context.WithTimeout(r.ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = r.dir
	cmd.Env = append([]string{}, r.options.Env...) // never nil: that would be the process's own
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	stdout := &bounded{max: maxProgramOutput, full: cancel}
	stderr := &bounded{max: maxProgramErrors}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		failed := at(src.doc.at(0), "start it: %v", startCause(err))
		if errors.Is(err, syscall.ENOENT) {
			failed.hint("it is there, but what its first line names is not: install that, or write another")
		}
		return nil, &startError{failed, err}
	}
	err := cmd.Wait()
	out := &output{stdout: stdout.kept, stderr: visible(stderr.kept)}
	command := filepath.Base(path) + " " + args[0]
	if args[0] == "--host" {
		command += " " + args[1] // further arguments may be secret
	}
	var failed *Error
	switch {
	case err == nil:
		return out, nil
	case stdout.over:
		failed = at(src.doc.at(0), "%s printed more than %d MiB", command, maxProgramOutput>>20)
	case r.ctx.Err() != nil:
		return nil, r.ctx.Err()
	case ctx.Err() != nil:
		failed = at(src.doc.at(0), "%s did not end within %s", command, limit)
	default:
		failed = at(src.doc.at(0), "%s failed: %v", command, err).hint("run it by hand")
	}
	return nil, failed.said(out.stderr)
}

// startCause leaves out what exec repeats of the path.
func startCause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// said puts what a program said into the error.
func (e *Error) said(stderr string) *Error {
	if stderr != "" {
		e.Msg += "; it said:\n" + stderr
	}
	return e
}

// bounded keeps the first max bytes and swallows the rest.
type bounded struct {
	kept []byte
	max  int
	over bool
	full func() // called when there is more; nil: the rest is lost quietly
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := b.max - len(b.kept); len(p) > room {
		b.kept = append(b.kept, p[:room]...)
		if !b.over && b.full != nil {
			b.full()
		}
		b.over = true
		return len(p), nil
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}

// visible makes what a program printed safe to show: no control characters
// but newlines, and valid text.
func visible(b []byte) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r != utf8.RuneError && unicode.IsPrint(r):
			return r
		case r == '\t':
			return ' '
		case r == '\r':
			return -1
		}
		return '?'
	}, strings.TrimSpace(string(b)))
}

// readScript runs a program with --list and reads the JSON that it prints.
// What can't be started may be a text file that is only marked executable.
func (r *reader) readScript(src *source) error {
	path, err := filepath.Abs(src.path)
	if err != nil {
		return readError(src.doc.name, err)
	}
	out, err := r.run(src, path, "--list")
	var start *startError
	if errors.As(err, &start) {
		if errors.Is(err, syscall.ENOENT) {
			return start.err // a text file that is marked executable is there
		}
		return decline(start.err)
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(out.stderr) {
		r.warn(src.doc.at(0), "it said: %s", strings.TrimSuffix(line, "\n"))
	}
	s := scriptSource{reader: r, src: src, path: path, doc: &document{name: src.doc.name + " --list"}}
	root, err := s.parse(s.doc, out)
	if err != nil {
		return err
	}
	return s.groups(root)
}

// scriptSource reads what a program printed into the tree.
type scriptSource struct {
	*reader
	src   *source
	path  string
	doc   *document
	hosts []hostLine // in the order they came
	seen  map[string]bool
}

// hostLine is a host and the line of the output that named it.
type hostLine struct {
	name string
	line int
}

// parse reads a JSON object.
func (s *scriptSource) parse(doc *document, out *output) (*value, error) {
	if !utf8.Valid(out.stdout) {
		return nil, at(doc.at(invalidLine(out.stdout)), "its output is not UTF-8").said(out.stderr)
	}
	v, ok := parseJSON(doc, out.stdout)
	if !ok {
		p := &jsonParser{doc: doc, s: string(out.stdout), line: 1}
		p.space()
		if p.i == len(p.s) {
			return nil, at(doc.at(0), "it printed nothing").said(out.stderr).hint("a program has to print a JSON object for --list")
		}
		p.value(0)
		return nil, at(doc.at(p.line), "its output is not JSON: %s", visible([]byte(firstBytes(out.stdout, 60)))).
			said(out.stderr).hint("run it by hand: %s --list", s.src.doc.name)
	}
	if v.kind != mapKind {
		return nil, at(doc.at(v.line), "its output has to be a dictionary of groups, and this is %s", v.typeName())
	}
	return v, nil
}

// firstBytes is the beginning of a text, for a message.
func firstBytes(b []byte, n int) string {
	b = bytes.TrimSpace(b)
	if len(b) <= n {
		return string(b)
	}
	return strings.ToValidUTF8(string(b[:n]), "") + "…"
}

func (s *scriptSource) at(p pair) Position { return s.doc.at(p.line) }

// groups reads the groups, and then the variables of their hosts: from _meta,
// or else by asking the program for each host.
func (s *scriptSource) groups(root *value) error {
	s.seen = map[string]bool{}
	var hostvars *value
	for _, p := range root.pairs {
		if p.name == "_meta" {
			if p.val.kind != mapKind {
				return at(s.at(p), "_meta has to be a dictionary, and this is %s", p.val.typeName())
			}
			if v, ok := p.val.get("hostvars"); ok {
				if v.val.kind != mapKind {
					return at(s.at(v), "_meta.hostvars has to be a dictionary, and this is %s", v.val.typeName())
				}
				hostvars = v.val
			}
			continue
		}
		if err := s.group(p); err != nil {
			return err
		}
	}
	vars := map[string]*value{}
	if hostvars != nil {
		for _, p := range hostvars.pairs {
			vars[p.name] = p.val
		}
	}
	for _, h := range s.hosts {
		of := vars[h.name]
		if hostvars == nil {
			var err error
			if of, err = s.ask(h); err != nil {
				return err
			}
		}
		if of == nil {
			continue
		}
		if of.kind != mapKind {
			return at(of.pos(), "the variables of the host %s have to be a dictionary, and this is %s", h.name, of.typeName())
		}
		for _, v := range of.pairs {
			s.tree.setVar(h.name, v.name, variable{val: v.val, line: v.line})
		}
	}
	return nil
}

// group reads one group: a list of hosts, or a dictionary with hosts, vars
// and children, or one of variables for a host with the group's name.
func (s *scriptSource) group(p pair) error {
	if p.name == "" {
		return at(s.at(p), "a group has an empty name")
	}
	g := s.tree.addGroup(p.name, s.at(p))
	if p.val.kind != mapKind {
		return s.members(g, p)
	}
	hosts, hasHosts := p.val.get("hosts")
	vars, hasVars := p.val.get("vars")
	children, hasChildren := p.val.get("children")
	if !hasHosts && !hasVars && !hasChildren {
		s.host(g, p.name, p.line)
		vars, hasVars = p, true
		vars.val = p.val.asUnsafe() // Ansible evaluates no template in these
	}
	if hasHosts {
		if err := s.members(g, hosts); err != nil {
			return err
		}
	}
	if hasVars {
		if vars.val.kind != mapKind {
			return at(s.at(vars), "vars of the group %s has to be a dictionary, and this is %s", g.name, vars.val.typeName())
		}
		for _, v := range vars.val.pairs {
			s.tree.setVar(g.name, v.name, variable{val: v.val, line: v.line})
		}
	}
	if hasChildren {
		return s.children(g, children)
	}
	return nil
}

// asUnsafe is the same value with no template in it.
func (v *value) asUnsafe() *value {
	w := *v
	w.unsafe = v.kind == scalarKind
	w.items, w.pairs = slices.Clone(v.items), slices.Clone(v.pairs)
	for i, item := range w.items {
		w.items[i] = item.asUnsafe()
	}
	for i, p := range w.pairs {
		w.pairs[i].val = p.val.asUnsafe()
	}
	return &w
}

// members reads a list of hosts.
func (s *scriptSource) members(g *group, p pair) error {
	if p.val.kind != listKind {
		return at(s.at(p), "the hosts of the group %s have to be a list, and this is %s", g.name, p.val.typeName())
	}
	for _, item := range p.val.items {
		name, ok := item.data.(string)
		if item.kind != scalarKind || !ok || name == "" {
			return at(item.pos(), "a host of the group %s has to have a name, and this is %s", g.name, emptyOr(item))
		}
		s.host(g, name, item.line)
	}
	return nil
}

func (s *scriptSource) host(g *group, name string, line int) {
	src := *s.src
	src.doc = s.doc
	s.tree.addHost(name, g, "", &src, line)
	if !s.seen[name] {
		s.seen[name] = true
		s.hosts = append(s.hosts, hostLine{name, line})
	}
}

// children reads the names of groups below.
func (s *scriptSource) children(g *group, p pair) error {
	names := p.val.items
	if p.val.kind == mapKind {
		for _, c := range p.val.pairs {
			names = append(names, &value{doc: s.doc, line: c.line, data: c.name})
		}
	} else if p.val.kind != listKind {
		return at(s.at(p), "children of the group %s has to be a list, and this is %s", g.name, p.val.typeName())
	}
	for _, item := range names {
		name, ok := item.data.(string)
		if item.kind != scalarKind || !ok || name == "" {
			return at(item.pos(), "a child of the group %s has to have a name, and this is %s", g.name, emptyOr(item))
		}
		if err := s.tree.addChild(g, s.tree.addGroup(name, item.pos()), item.pos()); err != nil {
			return err
		}
	}
	return nil
}

// emptyOr is what a value is that should have been a name.
func emptyOr(v *value) string {
	if s, ok := v.data.(string); ok && s == "" {
		return "an empty text"
	}
	return v.typeName()
}

// ask runs the program for the variables of one host. Printing nothing means
// that there are none.
func (s *scriptSource) ask(h hostLine) (*value, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	doc := &document{name: fmt.Sprintf("%s --host %s", s.src.doc.name, h.name)}
	out, err := s.run(s.src, s.path, "--host", h.name)
	var start *startError
	if errors.As(err, &start) {
		return nil, start.err
	}
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(out.stdout)) == 0 {
		return nil, nil
	}
	return s.parse(doc, out)
}
