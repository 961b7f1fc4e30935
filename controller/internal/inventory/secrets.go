package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/controller/internal/inventory/vault"
)

// VaultOptions say where vault passwords come from, with the meaning that
// Ansible's options of these names have.
type VaultOptions struct {
	IDs           []string // --vault-id and vault_identity_list: label@source; a source is a file, a program or prompt
	PasswordFiles []string // --vault-password-file: files and programs
	Ask           bool     // --ask-vault-pass
	MatchID       bool     // vault_id_match: a password opens only what names its id

	// Prompt asks for a password; nil where nobody can be asked.
	Prompt func(ctx context.Context, prompt string) (string, error)
	// Env is the environment of programs, NAME=value, and Stderr takes what
	// they say.
	Env    []string
	Stderr io.Writer
}

// maxPassword bounds a password and what a program may print.
const maxPassword = 1 << 20

// vaultRing gets every password, in the order of Ansible: ids, files, asked.
func (r *reader) vaultRing(ctx context.Context, o VaultOptions) (*vault.Ring, error) {
	ring := &vault.Ring{MatchID: o.MatchID}
	var errs []error
	add := func(flag, id, source string) {
		if err := r.vaultPassword(ctx, ring, o, flag, id, source); err != nil {
			errs = append(errs, err)
		}
	}
	for _, slug := range o.IDs {
		id, source, labelled := strings.Cut(slug, "@")
		if !labelled {
			id, source = "", slug
		}
		add("--vault-id "+slug, id, source)
	}
	for _, file := range o.PasswordFiles {
		add("--vault-password-file "+file, "", file)
	}
	if o.Ask {
		add("--ask-vault-pass", "", "prompt")
	}
	return ring, errors.Join(errs...)
}

// vaultPassword gets one password and adds it to the ring.
func (r *reader) vaultPassword(ctx context.Context, ring *vault.Ring, o VaultOptions, flag, id, source string) error {
	var password []byte
	var err error
	if source == "prompt" || source == "prompt_ask_vault_pass" {
		password, err = askVaultPassword(ctx, o, id)
	} else {
		password, err = r.vaultFile(ctx, ring, o, id, source)
	}
	if err == nil && len(password) == 0 {
		err = (&Error{Msg: "the vault password is empty"}).hint("write the password into its first line, or print it")
	}
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Msg: err.Error(), err: err}
		}
		e.Msg = flag + ": " + e.Msg
		return e
	}
	ring.Add(id, password)
	return nil
}

func askVaultPassword(ctx context.Context, o VaultOptions, id string) ([]byte, error) {
	if o.Prompt == nil {
		return nil, (&Error{Msg: "there is nobody to ask for the vault password"}).hint("give it with --vault-password-file")
	}
	prompt := "Vault password: "
	if id != "" && id != vault.DefaultID {
		prompt = fmt.Sprintf("Vault password (%s): ", id)
	}
	answer, err := o.Prompt(ctx, prompt)
	if err != nil {
		return nil, err
	}
	return []byte(strings.TrimSpace(answer)), nil
}

// vaultFile reads a password file, or runs it where it may be executed. A file
// may be encrypted itself, with a password given before it.
func (r *reader) vaultFile(ctx context.Context, ring *vault.Ring, o VaultOptions, id, name string) ([]byte, error) {
	path, err := filepath.Abs(r.path(name))
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, (&Error{Msg: readError("", err).Msg, err: err}).hint("name a file with the password in it, or a program that prints it")
	case info.IsDir():
		return nil, (&Error{Msg: "it is a directory"}).hint("name a file with the password in it, or a program that prints it")
	case info.Mode()&0o111 != 0:
		return runVaultProgram(ctx, o, id, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, readError("", err)
	}
	defer f.Close()
	text, err := readBounded(f)
	if err != nil {
		return nil, err
	}
	if vault.IsEncrypted(text) {
		if text, err = ring.Open(text); err != nil {
			return nil, vaultError(Position{}, err)
		}
	}
	return bytes.TrimSpace(text), nil
}

func readBounded(f io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return nil, readError("", err)
	}
	if len(text) > maxPassword {
		return nil, fmt.Errorf("more than %d bytes, which is no password", maxPassword)
	}
	return text, nil
}

// runVaultProgram runs a program that prints a password. Those whose name ends
// in -client are told the id.
func runVaultProgram(ctx context.Context, o VaultOptions, id, path string) ([]byte, error) {
	var args []string
	client := strings.HasSuffix(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), "-client")
	if client && id != "" {
		args = []string{"--vault-id", id}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Stderr = o.Env, o.Stderr
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, (&Error{Msg: fmt.Sprintf("the program does not start: %v", errors.Unwrap(err)), err: err}).
			hint("a file that only holds the password must not be executable: chmod -x %s", path)
	}
	text, readErr := readBounded(pipe)
	if readErr != nil {
		_ = cmd.Process.Kill() // it would wait for us to read on
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case readErr != nil:
		return nil, readErr
	case errors.As(err, &exit) && client && exit.ExitCode() == 2:
		return nil, (&Error{Msg: fmt.Sprintf("the program has no password for the id %s", id), err: err}).
			hint("run %s --vault-id %s and see what it says", path, id)
	case err != nil:
		return nil, (&Error{Msg: fmt.Sprintf("the program failed: %v", err), err: err}).hint("run %s and see what it says", path)
	}
	return bytes.Trim(text, "\r\n"), nil
}

// vaultError puts a place to what the vault package says.
func vaultError(p Position, err error) *Error {
	var v *vault.Error
	if errors.As(err, &v) {
		return &Error{File: p.File, Line: p.Line, Msg: v.Msg, Hint: v.Hint, err: v}
	}
	return at(p, "%v", err)
}

// open decrypts a file if it is encrypted; secret says that it was.
func (l *loader) open(name string, text []byte) (plain []byte, secret bool, err error) {
	if !vault.IsEncrypted(text) {
		return text, false, nil
	}
	plain, err = l.vault().Open(text)
	if err != nil {
		return nil, true, vaultError(Position{name, 1}, err)
	}
	return plain, true, nil
}

// vault is the ring, which is never nil.
func (l *loader) vault() *vault.Ring {
	if l.ring == nil {
		return &vault.Ring{}
	}
	return l.ring
}

// loadFile reads a document that may be encrypted.
func (l *loader) loadFile(name string, text []byte) (*value, error) {
	text, secret, err := l.open(name, text)
	if err != nil {
		return nil, err
	}
	if !secret {
		return l.load(name, text)
	}
	return l.loadSecret(name, text)
}

// loadSecret reads a decrypted document. What is wrong in it is told without
// its text.
func (l *loader) loadSecret(name string, text []byte) (*value, error) {
	quiet := &loader{ring: l.ring, warn: func(Position, string, ...any) {}}
	v, err := quiet.parse(&document{name: name, secret: true}, text)
	if err == nil {
		return v, nil
	}
	line := 0
	var e *Error
	if errors.As(err, &e) {
		line = e.Line
	}
	return nil, at(Position{name, 0}, "line %d of its decrypted text is not the YAML or JSON that it has to be", line).
		hint("ansible-vault view %s shows the text", name)
}

// unsealed is the value with its vault values decrypted.
func (v *value) unsealed(inv *Inventory, name string) (*value, error) {
	if !v.isDynamic() {
		return v, nil
	}
	w := *v
	switch v.kind {
	case listKind:
		w.items = slices.Clone(v.items)
		for i := range w.items {
			var err error
			if w.items[i], err = w.items[i].unsealed(inv, name); err != nil {
				return nil, err
			}
		}
	case mapKind:
		w.pairs = slices.Clone(v.pairs)
		for i := range w.pairs {
			var err error
			if w.pairs[i].val, err = w.pairs[i].val.unsealed(inv, name); err != nil {
				return nil, err
			}
		}
	default:
		if sealed, ok := v.data.(Vault); ok {
			plain, err := v.open(inv, sealed, name)
			if err != nil {
				return nil, err
			}
			w.data = plain
		}
	}
	return &w, nil
}

// told is the error of a source, without its words where those may be of a
// decrypted text.
func (s *source) told(err error) error {
	if err == nil || !s.doc.secret {
		return err
	}
	return at(s.doc.at(0), "line %d of its decrypted text is no inventory", Errors(err)[0].Line).
		hint("ansible-vault view %s shows the text", s.doc.name)
}

// args are the options for the real tool, which is not to ask by itself.
func (o VaultOptions) args() []string {
	var args []string
	for _, id := range o.IDs {
		if source := id[strings.IndexByte(id, '@')+1:]; source != "prompt" && source != "prompt_ask_vault_pass" {
			args = append(args, "--vault-id", id)
		}
	}
	for _, f := range o.PasswordFiles {
		args = append(args, "--vault-password-file", f)
	}
	return args
}
