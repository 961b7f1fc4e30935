package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofleet/gofleet/agent/wire"
)

// useLocal takes the archive from this host, where Ansible runs the agent as a
// module and there is no action plugin to bring it. Only a pin is evidence
// then: the agent has no table of sums.
func (r *ansibleRun) useLocal(ctx context.Context) error {
	q := r.question.Archive
	if !filepath.IsAbs(q.Archives) {
		return &wire.Error{Kind: wire.KindArchiveMissing,
			Message: fmt.Sprintf("archives is %q, which is not a directory of this host", q.Archives),
			Hint: "without the collection's action plugin the archive must be on the host already: " +
				"copy it there and name its directory, or use gofleet.golang.toolchain"}
	}
	if q.SHA256 == "" {
		return &wire.Error{Kind: wire.KindArchiveMissing,
			Message: fmt.Sprintf("there is no evidence for the archive of go%s", q.Version),
			Hint:    fmt.Sprintf("without the collection's action plugin only a pin is evidence: sha256: {%s: …}", q.Platform.Dashed())}
	}
	f, name, err := openFirst(q.Archives, q.Names)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, size, err := sumAndSize(ctx, f)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if sum != q.SHA256 {
		return &wire.Error{Kind: wire.KindArchiveCorrupt,
			Message: fmt.Sprintf("refuse %s: sha256 pins %s to %q, but the file has sha256 %s", f.Name(), q.Platform.Dashed(), q.SHA256, sum),
			Hint:    "correct the pin, or get the archive again"}
	}
	r.control.Release = &wire.Release{
		Version: q.Version, Platform: q.Platform, Name: name, SHA256: sum,
		Evidence: "pin: pinned by gofleet_sha256 for " + q.Platform.Dashed(),
	}
	r.control.Transfer = &wire.Transfer{
		Encoding: wire.Gzip, SHA256: sum, Size: size, ChunkSize: size, Chunks: []string{sum},
	}
	r.control.Rest = f.Name()
	return nil
}

func openFirst(dir string, names []string) (*os.File, string, error) {
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err == nil {
			return f, name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", fmt.Errorf("open the archive: %w", err)
		}
	}
	return nil, "", &wire.Error{Kind: wire.KindArchiveMissing,
		Message: fmt.Sprintf("no archive in %s: looked for %s and %s", dir, names[0], names[1]),
		Hint:    "copy it to the host first"}
}

func sumAndSize(ctx context.Context, f *os.File) (string, int64, error) {
	if err := ctx.Err(); err != nil {
		return "", 0, err
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}
