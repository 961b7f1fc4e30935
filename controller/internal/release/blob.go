package release

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Blob is the bytes of one archive where they lie: a file, or a stretch of a
// bundle. It may be read from several goroutines.
type Blob interface {
	io.ReaderAt
	io.Closer

	// Name is the path, for messages; its last element is the archive's name.
	Name() string

	// Stamp tells this content from what may lie there later. Its Size is the
	// content's.
	Stamp() (Stamp, error)

	// Beside reads the small file that has this archive's name and suffix: nil
	// if there is none. One that is longer than limit, or empty, is an error.
	Beside(suffix string, limit int64) ([]byte, error)
}

// Carrier is a bundle, as far as it carries archives. A Store whose Options
// name one takes its archives out of it.
type Carrier interface {
	// Archive gives the archive with that name, or an error that is
	// fs.ErrNotExist.
	Archive(name string) (Blob, error)

	// Archives are the names of all that it carries.
	Archives() []string

	// Promise is the sha256 that the bundle's signed manifest gives the archive,
	// and who signed. Both are empty if nobody who is trusted signed it.
	Promise(name string) (sha256, signer string)

	// String is the bundle's path.
	String() string
}

// fileBlob is an archive that is a file of its own.
type fileBlob struct{ *os.File }

func openBlob(path string) (Blob, error) {
	f, err := OpenRegular(path)
	if errors.Is(err, errNotRegular) {
		err = &RefusedError{File: path, Reason: errNotRegular.Error(), Hint: "put the archive itself there"}
	}
	if err != nil {
		return nil, err
	}
	return fileBlob{f}, nil
}

var errNotRegular = errors.New("it is not a regular file")

// OpenRegular opens a file to read it. What is no regular file, or a link to
// one, is an error: nobody waits for who might write to a FIFO.
func OpenRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (b fileBlob) Stamp() (Stamp, error) { return StampOf(b.File) }

func (b fileBlob) Beside(suffix string, limit int64) ([]byte, error) {
	f, err := OpenRegular(b.Name() + suffix)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", filepath.Base(f.Name()), limit)
	}
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("%s is empty", filepath.Base(f.Name()))
	}
	return data, err
}
