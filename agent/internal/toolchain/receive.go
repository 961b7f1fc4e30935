package toolchain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/wire"
)

// What may travel is bounded: many times what a Go archive takes, and what any
// site's module cache does.
const (
	maxTransfer = 1 << 30
	maxFileTree = 64 << 30
)

// keepUpload is how long a broken upload may be resumed.
const keepUpload = 24 * time.Hour

// Names inside a transfer's staging directory.
const (
	uploadName = "archive"
	treeName   = "tree"
)

// Upload is an archive that is arriving. Its file belongs to the login user,
// who writes it over SFTP, or the agent appends to it what comes over stdin.
// Nothing in it is believed: every byte is read once, hashed and extracted in
// that one reading.
type Upload struct {
	store    *Store
	release  wire.Release
	transfer wire.Transfer
	gathered *Gathered // what a difference is the rest of
	dir      string    // .staging/<sha256>
	file     *os.File
	offset   int64 // what was right when it was opened

	mu     sync.Mutex
	more   *sync.Cond
	have   int64
	failed error
}

// Receive prepares for the transfer of a release: it makes the staging
// directory and the file in it, or takes up what an earlier run left of the
// same transfer. The file belongs to loginUID. A difference goes to what was
// gathered; the whole archive does without that, which is removed. Close must
// be called.
func (s *Store) Receive(ctx context.Context, release wire.Release, transfer wire.Transfer, gathered *Gathered, loginUID int) (*Upload, error) {
	err := checkTransfer(release, transfer)
	if err == nil && transfer.Difference && gathered == nil {
		err = errors.New("a difference was sent where the archive was asked for")
	}
	if err != nil {
		return nil, wire.NewError(wire.KindProtocol, err, "")
	}
	u := &Upload{
		store: s, release: release, transfer: transfer, gathered: gathered,
		dir: filepath.Join(s.Staging(), transfer.SHA256),
	}
	u.more = sync.NewCond(&u.mu)
	if err := s.Make(); err != nil {
		return nil, err
	}
	for _, dir := range []string{s.Staging(), u.dir} {
		if err := makeDir(dir, 0o711); err != nil {
			return nil, hostError(err)
		}
	}
	spared := []string{transfer.SHA256}
	if transfer.Difference {
		spared = append(spared, filepath.Base(gathered.top))
	}
	// A toolchain whose upload was cut is taken up after the modules.
	if err := s.sweepStaging(!hasVersion(release), spared...); err != nil {
		return nil, hostError(err)
	}
	s.fault("receive.staged")
	if err := u.open(ctx, loginUID); err != nil {
		return nil, hostError(err)
	}
	s.fault("receive.opened")
	return u, nil
}

func checkTransfer(r wire.Release, t wire.Transfer) error {
	limit := int64(maxTransfer)
	if !hasVersion(r) {
		limit = maxFileTree
	}
	switch {
	case hasVersion(r) && !validVersion(r.Version):
		return fmt.Errorf("%q is not a Go version", r.Version)
	case !hasVersion(r) && !t.Difference:
		return errors.New("of a file tree a difference was asked for")
	case !isSum(t.SHA256), !isSum(r.Tree.SHA256) && (r.Tree != wire.Tree{}):
		return errors.New("transfer has a sum that is no sha256")
	case (r.Tree == wire.Tree{}) && r.SHA256 != t.SHA256:
		return errors.New("tree is not known, and what travels is not the archive itself")
	case t.Size < 1 || t.Size > limit:
		return fmt.Errorf("transfer has %d bytes; at most %d are accepted", t.Size, limit)
	case t.ChunkSize < 1 || int64(len(t.Chunks)) != (t.Size+t.ChunkSize-1)/t.ChunkSize:
		return errors.New("transfer's chunks do not make up its size")
	case t.Encoding != wire.Gzip && t.Encoding != wire.Zstd:
		return fmt.Errorf("transfer has unknown encoding %q", t.Encoding)
	case t.Difference && r.Tree == (wire.Tree{}):
		return errors.New("a difference was sent to a tree that is not known")
	}
	return nil
}

// open opens the upload's file, which nobody else can have put there: the
// directory is ours. What is left of an earlier upload is kept as far as its
// chunks are right.
func (u *Upload) open(ctx context.Context, loginUID int) error {
	if err := os.RemoveAll(filepath.Join(u.dir, treeName)); err != nil {
		return fmt.Errorf("remove what was half extracted: %w", err)
	}
	if u.transfer.Difference {
		if err := u.gathered.moveTo(u.dir); err != nil {
			return err
		}
	}
	path := filepath.Join(u.dir, uploadName)
	if !keepable(path) {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove an old upload: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("make the upload's file: %w", err)
	}
	u.file = f
	if u.offset, err = u.rightPrefix(ctx); err == nil {
		err = errors.Join(f.Truncate(u.offset), f.Chmod(0o600))
	}
	// Only root can give it to the login user. Who became another user gets the
	// bytes on stdin, because the login user's SFTP may not open the file.
	if err == nil && os.Geteuid() == 0 && loginUID != 0 {
		err = f.Chown(loginUID, -1)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("prepare the upload's file: %w", err)
	}
	u.have = u.offset
	return nil
}

// keepable reports whether a broken upload may be resumed: a regular file
// under one name only, not too old.
func keepable(path string) bool {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		return false
	}
	age := time.Since(time.Unix(st.Mtim.Unix()))
	return age < keepUpload && age > -keepUpload
}

// rightPrefix hashes what the file has, chunk by chunk, and gives how much of
// it is right. Concurrent writes leave holes in the tail of a broken upload,
// so its size says nothing.
func (u *Upload) rightPrefix(ctx context.Context) (int64, error) {
	st, err := u.file.Stat()
	if err != nil {
		return 0, err
	}
	if u.transfer.Whole && st.Size() == u.transfer.Size {
		return st.Size(), nil
	}
	var right int64
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for _, want := range u.transfer.Chunks {
		n := min(u.transfer.ChunkSize, u.transfer.Size-right)
		if right+n > st.Size() {
			break
		}
		if err := ctx.Err(); err != nil {
			return 0, stopped(context.Cause(ctx))
		}
		h.Reset()
		chunk := struct{ io.Reader }{io.NewSectionReader(u.file, right, n)}
		if _, err := io.CopyBuffer(h, chunk, buf); err != nil {
			return 0, err
		}
		if hex.EncodeToString(h.Sum(nil)) != want {
			break
		}
		right += n
	}
	return right, nil
}

// Need says where the rest of the bytes go.
func (u *Upload) Need() wire.Need {
	return wire.Need{Path: u.file.Name(), Offset: u.offset}
}

// Have says that the file has everything up to n.
func (u *Upload) Have(n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n > u.have && n <= u.transfer.Size {
		u.have = n
		u.more.Broadcast()
	}
}

// Append adds the next n bytes, taken from r. An error also ends Extract.
func (u *Upload) Append(r io.Reader, n int64) error {
	u.mu.Lock()
	at := u.have
	u.mu.Unlock()
	if n > u.transfer.Size-at {
		err := wire.NewError(wire.KindTransfer, errors.New("more bytes came than the transfer has"), "")
		u.Fail(err)
		return err
	}
	got, err := io.CopyN(io.NewOffsetWriter(u.file, at), r, n)
	u.Have(at + got)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		// Not the archive's end: what came is kept, to be resumed.
		err = stopped(errors.New("the connection ended in the middle of the upload"))
	default:
		err = hostError(fmt.Errorf("write the upload: %w", err))
	}
	u.Fail(err)
	return err
}

// Fail ends the upload with an error: no more bytes will come.
func (u *Upload) Fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failed == nil {
		u.failed = err
	}
	u.more.Broadcast()
}

// Close ends the upload and removes what it has staged, the upload itself
// apart: what arrived may be resumed. After a successful Extract it removes
// nothing that Commit needs.
func (u *Upload) Close() error {
	u.Fail(stopped(errors.New("upload was closed")))
	return u.file.Close()
}

// discard removes everything staged for this transfer.
func (u *Upload) discard() error { return u.store.discard(u.dir) }

// discard removes a directory in staging, and staging if nothing else is in it.
func (s *Store) discard(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	err := os.Remove(s.Staging())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// follower reads the upload behind its growth and hashes what it reads. It
// blocks until bytes are there.
type follower struct {
	u    *Upload
	at   int64
	hash hash.Hash
	done atomic.Int64 // at, for other goroutines
}

func (f *follower) Read(p []byte) (int, error) {
	u := f.u
	if f.at == u.transfer.Size {
		return 0, io.EOF
	}
	u.mu.Lock()
	for u.have <= f.at && u.failed == nil {
		u.more.Wait()
	}
	have, failed := u.have, u.failed
	u.mu.Unlock()
	if failed != nil {
		return 0, failed
	}
	n, err := u.file.ReadAt(p[:min(int64(len(p)), have-f.at)], f.at)
	f.hash.Write(p[:n])
	f.at += int64(n)
	f.done.Store(f.at)
	switch {
	case n > 0:
		return n, nil
	case errors.Is(err, io.EOF):
		return 0, wire.NewError(wire.KindTransfer,
			fmt.Errorf("upload ends at byte %d where the controller sent %d", f.at, have), "run the same command again")
	}
	return 0, fmt.Errorf("read the upload: %w", err)
}
