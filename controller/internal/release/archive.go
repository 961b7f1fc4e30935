package release

import (
	"errors"
	"sync"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// Archive is a release's file whose content has been verified. Only a Store
// makes one. It may be used from several goroutines.
type Archive struct {
	name     Name
	file     Blob
	in       *inspection
	evidence Evidence
	cache    cache

	pack    sync.Once
	packed  []byte // by PackedManifest
	packErr error

	parse    sync.Once
	parsed   tree.Manifest // by tree
	parseErr error

	mu     sync.Mutex
	zstd   *Transfer
	making *making // of zstd, while it goes on
}

// Name is the file's name, without directories.
func (a *Archive) Name() string { return a.name.String() }

// Version is the Go version, without "go".
func (a *Archive) Version() string { return a.name.Version }

// Platform is the one that the archive is for.
func (a *Archive) Platform() spec.Platform { return a.name.Platform }

// SHA256 is that of the file, lower-case hex.
func (a *Archive) SHA256() string { return a.in.SHA256 }

// Size is the file's, in bytes.
func (a *Archive) Size() int64 { return a.in.Size }

// Path is where the file lies.
func (a *Archive) Path() string { return a.file.Name() }

// Evidence is why the archive is believed.
func (a *Archive) Evidence() Evidence { return a.evidence }

// Tree describes what the archive holds.
func (a *Archive) Tree() wire.Tree { return a.in.Tree }

// Manifest is the text of the tree manifest; it must not be changed.
func (a *Archive) Manifest() []byte { return a.in.text }

// PackedManifest is the tree manifest as it travels, packed once for all hosts.
func (a *Archive) PackedManifest() ([]byte, error) {
	a.pack.Do(func() { a.packed, a.packErr = tree.Pack(a.in.text) })
	return a.packed, a.packErr
}

// Close closes the file. Transfers must have ended; a zstd form that is still
// being made is abandoned.
func (a *Archive) Close() error {
	a.mu.Lock()
	m := a.making
	a.mu.Unlock()
	if m != nil {
		m.cancel()
		<-m.done
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var err error
	if a.zstd != nil {
		err = a.zstd.file.Close()
	}
	return errors.Join(err, a.file.Close())
}
