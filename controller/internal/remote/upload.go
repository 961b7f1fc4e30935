package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/agent/wire"
)

// ErrNoSFTP is wrapped by Upload's error where the host offers no SFTP that
// reaches the file: the subsystem is off, refused, silent, or in a chroot.
// The bytes can go through the agent's stdin instead.
var ErrNoSFTP = errors.New("no SFTP on this host")

const (
	// largePacket is what OpenSSH takes in one write; a longer one breaks the connection.
	largePacket = 255 << 10
	// smallPacket is what every server must take.
	smallPacket = 32 << 10
	// sftpTimeout is how long a server may take to start SFTP and open a file.
	sftpTimeout = 20 * time.Second
	// writeTimeout is how long an upload may make no progress.
	writeTimeout = 60 * time.Second
)

// upload is one call of Conn.Upload.
type upload struct {
	src          io.ReaderAt
	offset, size int64
	dst          string
	contiguous   func(int64)
}

// Upload writes the bytes of src from offset to size into dst at the same
// positions. dst must exist; it is neither created nor truncated. contiguous
// is called in order with the position up to which dst is written without
// holes, also when the upload breaks later. Errors are *wire.Error, or wrap
// ErrNoSFTP.
func (c *Conn) Upload(ctx context.Context, src io.ReaderAt, offset, size int64, dst string, contiguous func(int64)) error {
	if offset < 0 || offset > size {
		return wire.NewError(wire.KindInternal, fmt.Errorf("upload to %s from %d of %d bytes", dst, offset, size), "")
	}
	err := c.via.upload(ctx, upload{src: src, offset: offset, size: size, dst: dst, contiguous: contiguous})
	switch {
	case err == nil, errors.Is(err, ErrNoSFTP):
		return err
	case ctx.Err() != nil:
		return contextError(ctx, err)
	}
	if cause := c.via.broken(); cause != nil {
		err = cause
	}
	var w *wire.Error
	if errors.As(err, &w) {
		return err
	}
	return &wire.Error{Kind: wire.KindTransfer, Retryable: true,
		Message: fmt.Sprintf("upload to %s: %v", dst, err), Hint: "the next run goes on where this one stopped"}
}

func (t *sshTransport) upload(ctx context.Context, u upload) error {
	packet := smallPacket
	if strings.HasPrefix(string(t.client.ServerVersion()), "SSH-2.0-OpenSSH") {
		packet = largePacket
	}
	reached := u.offset
	report := u.contiguous
	u.contiguous = func(n int64) {
		reached = n
		report(n)
	}
	err := t.uploadWith(ctx, u, packet)
	if err == nil || errors.Is(err, ErrNoSFTP) || ctx.Err() != nil || t.broken() != nil || packet == smallPacket {
		return err
	}
	if !errors.Is(err, sftp.ErrSSHFxConnectionLost) && !errors.Is(err, sftp.ErrSSHFxBadMessage) && !errors.Is(err, io.EOF) {
		return err
	}
	// Not OpenSSH's own sftp-server behind that name: what everyone takes.
	u.offset = reached
	return t.uploadWith(ctx, u, smallPacket)
}

// uploadWith opens an SFTP session of its own for one upload.
func (t *sshTransport) uploadWith(ctx context.Context, u upload, packet int) error {
	session, client, err := t.openSFTP(ctx, packet)
	if err != nil {
		return err
	}
	// Closing the channel ends every call that waits in client.
	defer func() { go client.Close() }()
	defer func() { go session.Close() }()

	openCtx, cancel := context.WithTimeout(ctx, sftpTimeout)
	defer cancel()
	asked := time.Now()
	file, err := await(openCtx, func() (*sftp.File, error) { return client.OpenFile(u.dst, os.O_WRONLY) }, nil)
	rtt := time.Since(asked)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return err
	case openCtx.Err() != nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		// The file is there, and ours: this SFTP does not see the same tree.
		return fmt.Errorf("%w: open %s: %w", ErrNoSFTP, u.dst, err)
	default:
		return fmt.Errorf("open over SFTP: %w", err)
	}
	err = u.run(ctx, file.WriteAt, packet, rtt)
	if err == nil {
		err = awaitError(ctx, file.Close)
	}
	return err
}

// openSFTP starts the subsystem. A server that refuses it, ends it or stays
// silent has no SFTP.
func (t *sshTransport) openSFTP(ctx context.Context, packet int) (*ssh.Session, *sftp.Client, error) {
	t.mu.Lock()
	none := t.noSFTP
	t.mu.Unlock()
	if none != nil {
		return nil, nil, none
	}
	openCtx, cancel := context.WithTimeout(ctx, sftpTimeout)
	defer cancel()
	session, err := newSession(openCtx, t.client)
	if err != nil {
		return nil, nil, fmt.Errorf("open a channel for SFTP: %w", err)
	}
	client, err := await(openCtx, func() (*sftp.Client, error) { return startSFTP(session, packet) }, nil)
	if err == nil {
		return session, client, nil
	}
	go session.Close()
	if ctx.Err() != nil || t.broken() != nil {
		return nil, nil, err
	}
	none = fmt.Errorf("%w: %w", ErrNoSFTP, err)
	t.mu.Lock()
	t.noSFTP = none
	t.mu.Unlock()
	return nil, nil, none
}

func startSFTP(session *ssh.Session, packet int) (*sftp.Client, error) {
	in, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		return nil, err
	}
	return sftp.NewClientPipe(out, in, sftp.MaxPacketUnchecked(packet))
}

// upload writes into a file of this machine.
func (l *localTransport) upload(ctx context.Context, u upload) error {
	if l.shell != nil {
		return ErrNoSFTP // its paths are not this machine's
	}
	f, err := os.OpenFile(u.dst, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	err = u.run(ctx, f.WriteAt, largePacket, 0)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
