package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/agent/wire"
)

// readKnownHosts reads those of files that exist. A line that cannot be read
// is left out with a warning, as ssh does it; a revocation that cannot be
// read is an error.
func (d *Dialer) readKnownHosts(files []string) (*knownDB, error) {
	db := &knownDB{}
	for _, f := range files {
		content, err := readRegular(f)
		if err != nil {
			return nil, wire.NewError(wire.KindHostKeyUnknown, fmt.Errorf("read known_hosts: %w", err), "")
		}
		skip := func(line int, err error) { d.warn("%s:%d cannot be read and was left out: %v", f, line, err) }
		if err := db.add(f, content, skip); err != nil {
			return nil, wire.NewError(wire.KindHostKeyUnknown, fmt.Errorf("read known_hosts: %w", err), "correct that line, or take it out")
		}
	}
	return db, nil
}

// revokedKeys reads the file that RevokedHostKeys names, a public key a line.
// They are revoked for every host. What cannot be read lets no host in, as
// with ssh.
func (d *Dialer) revokedKeys(file string) ([]*knownLine, error) {
	if file == "" {
		return nil, nil
	}
	d.shared.mu.Lock()
	load, ok := d.shared.revoked[file]
	if !ok {
		load = sync.OnceValues(func() ([]*knownLine, error) { return readRevokedKeys(file) })
		put(&d.shared.revoked, file, load)
	}
	d.shared.mu.Unlock()
	lines, err := load()
	if err != nil {
		return nil, wire.NewError(wire.KindHostKeyUnknown, fmt.Errorf("read RevokedHostKeys: %w", err),
			"the file must be there, and have one public key a line; no host is let in without it")
	}
	return lines, nil
}

func readRevokedKeys(file string) ([]*knownLine, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(content, []byte("SSHKRL")) {
		return nil, fmt.Errorf("%s is a key revocation list in binary form, which gofleet does not read", file)
	}
	var out []*knownLine
	for i, l := range bytes.Split(content, []byte("\n")) {
		if l = bytes.TrimSpace(l); len(l) == 0 || l[0] == '#' {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(l)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
		out = append(out, &knownLine{marker: markerRevoked, key: key, file: file, line: i + 1})
	}
	return out, nil
}

// readRegular reads a file. What is absent or no regular file is empty.
func readRegular(file string) ([]byte, error) {
	st, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !st.Mode().IsRegular() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(file)
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
	line := knownHostsLine(addr, key, hash) + "\n"
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
