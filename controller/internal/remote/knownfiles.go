package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/gofleet/gofleet/agent/wire"
)

// knownDB is the content of some known_hosts files.
type knownDB struct {
	*knownhosts.HostKeyDB
	copies map[string]string // the file that a cleaned copy stands for
}

// name is the file as the user knows it.
func (db *knownDB) name(file string) string {
	if original, ok := db.copies[file]; ok {
		return original
	}
	return file
}

// readKnownHosts reads those of files that exist. A line that cannot be read
// is left out with a warning, as ssh does it; a revocation that cannot be
// read is an error.
func (d *Dialer) readKnownHosts(files []string) (*knownDB, error) {
	var present []string
	for _, f := range files {
		st, err := os.Stat(f)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && !st.Mode().IsRegular():
		case err != nil:
			return nil, wire.NewError(wire.KindHostKeyUnknown, fmt.Errorf("read known_hosts: %w", err), "")
		default:
			present = append(present, f)
		}
	}
	db, err := knownhosts.NewDB(present...)
	if err == nil {
		return &knownDB{HostKeyDB: db}, nil
	}
	clean, err := d.readCleaned(present)
	if err != nil {
		return nil, wire.NewError(wire.KindHostKeyUnknown, fmt.Errorf("read known_hosts: %w", err), "correct that line, or take it out")
	}
	return clean, nil
}

// readCleaned reads copies of the files in which unreadable lines are empty,
// because the library refuses a whole file for one such line.
func (d *Dialer) readCleaned(files []string) (*knownDB, error) {
	dir, err := os.MkdirTemp("", "gofleet-known_hosts-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := &knownDB{copies: map[string]string{}}
	var copies []string
	for i, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		cleaned, err := d.cleanKnownHosts(f, content)
		if err != nil {
			return nil, err
		}
		c := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(c, cleaned, 0o600); err != nil {
			return nil, err
		}
		out.copies[c] = f
		copies = append(copies, c)
	}
	if out.HostKeyDB, err = knownhosts.NewDB(copies...); err != nil {
		text := err.Error()
		for c, f := range out.copies {
			text = strings.ReplaceAll(text, c, f)
		}
		return nil, errors.New(text)
	}
	return out, nil
}

func (d *Dialer) cleanKnownHosts(file string, content []byte) ([]byte, error) {
	lines := bytes.Split(content, []byte("\n"))
	for i, l := range lines {
		l = bytes.TrimSpace(l)
		if len(l) == 0 || l[0] == '#' {
			continue
		}
		_, _, _, _, _, err := ssh.ParseKnownHosts(append(bytes.Clone(l), '\n'))
		if err == nil {
			continue
		}
		if bytes.HasPrefix(l, []byte("@revoked")) {
			return nil, fmt.Errorf("%s:%d: a revoked key that cannot be read: %w", file, i+1, err)
		}
		d.warn("%s:%d cannot be read and was left out: %v", file, i+1, err)
		lines[i] = nil
	}
	return bytes.Join(lines, []byte("\n")), nil
}

// recordHostKey appends a line to a known_hosts file, durably. Other
// processes may append at the same time.
func recordHostKey(file, addr string, key ssh.PublicKey, hash bool) (err error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", file, err)
	}
	line := knownhosts.Line([]string{addr}, key)
	if hash {
		_, rest, _ := strings.Cut(line, " ")
		line = xknownhosts.HashHostname(knownhosts.Normalize(addr)) + " " + rest
	}
	line += "\n"
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if last := make([]byte, 1); end > 0 {
		if _, err := f.ReadAt(last, end-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if end > 0 {
		return nil
	}
	// The file may be new: its name has to last as well.
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
