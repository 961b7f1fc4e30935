package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNoModule says that a release is older than toolchain modules, so that the
// checksum database knows nothing of it.
var ErrNoModule = errors.New("releases before Go 1.21 are in no checksum database")

// Prove puts beside an archive what the checksum database says of it, unless
// it is there already. The hash that the database recorded must be that of the
// archive's content. Of the options, version, platforms and directory play no
// part.
func Prove(ctx context.Context, file string, o FetchOptions) error {
	name, err := ParseName(filepath.Base(file))
	if err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	if !hasModule(name.Version) {
		return fmt.Errorf("prove %s: %w", name, ErrNoModule)
	}
	if _, err := os.Stat(file + EvidenceSuffix); err == nil {
		return nil
	}
	o.To, o.Platforms = filepath.Dir(file), append(o.Platforms[:0:0], name.Platform)
	f, err := newFetcher(o)
	if err != nil {
		return err
	}
	defer f.store.Close()
	proof, err := f.prove(ctx, name)
	if err != nil {
		return fmt.Errorf("prove %s: %w", name, err)
	}
	blob, err := openBlob(file)
	if err != nil {
		return fmt.Errorf("prove %s: %w", name, err)
	}
	defer blob.Close()
	in, form, err := f.store.inspect(ctx, blob, name)
	if err != nil {
		return fmt.Errorf("prove %s: %w", name, err)
	}
	form.discard()
	if in.broken != nil {
		return fmt.Errorf("prove %s: %w", name, in.broken)
	}
	got, err := in.moduleHash(name)
	if err != nil {
		return fmt.Errorf("prove %s: %w", name, err)
	}
	if got != proof.H1 {
		return &RefusedError{File: file, SHA256: in.SHA256,
			Reason: fmt.Sprintf("its content has %s, the checksum database recorded %s", got, proof.H1),
			Hint:   "the file is not what Go released: fetch it again"}
	}
	return writeFile(file+EvidenceSuffix, proof.Encode())
}
