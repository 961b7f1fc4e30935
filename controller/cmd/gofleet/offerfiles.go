package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// filesQuestion asks for a bundle's modules or a directory's sources.
type filesQuestion struct {
	Part  wire.Part         `json:"part"`  // "" for an archive
	Env   map[string]string `json:"env"`   // of the go command on the host, which says which modules are private
	Audit bool              `json:"audit"` // the signed list is enough
	Lacks [][2]int          `json:"lacks"` // what a host lacks of it: make what travels
	To    string            `json:"to"`    // the file for that
}

// offerFiles gives a file tree as apply offers it to a host, and with Lacks the
// difference that would travel.
func (a *app) offerFiles(ctx context.Context, q offerQuestion) (*offer, error) {
	ui, err := a.reporter()
	if err != nil {
		return nil, err
	}
	action := wire.Apply
	if q.Audit {
		action = wire.Audit
	}
	var files *release.FileTree
	location := resolve(q.Location, q.Directory)
	switch q.Part {
	case wire.PartModules:
		c := (&shelf{ui: ui}).openModuleCache(ctx, location, q.Directory, q.TrustedKeys, action)
		defer c.close()
		if files, err = c.modules, c.err; err == nil {
			err = unprovable(c.bundle, &spec.Spec{Env: q.Env, Modules: &spec.Modules{From: q.Location}})
		}
	case wire.PartGopath:
		t := openSourceTree(ctx, location)
		defer t.close()
		files, err = t.files, t.err
	default:
		err = fmt.Errorf("nothing is called %q: ask for %s or %s", q.Part, wire.PartModules, wire.PartGopath)
	}
	if err != nil {
		return nil, err
	}
	made := &offer{Release: wire.Release{Name: files.Name(), Evidence: files.Evidence(), Tree: files.Tree()}}
	if len(q.Lacks) == 0 {
		made.Manifest, err = files.PackedManifest()
		return made, err
	}
	t, err := files.Difference(ctx, q.Lacks)
	if err != nil {
		return nil, err
	}
	made.Transfer, made.File = &t.Transfer, q.To
	return made, errors.Join(writeTransfer(t, q.To), t.Close())
}

// writeTransfer writes a new file with what travels.
func writeTransfer(t *release.Transfer, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.NewSectionReader(t, 0, t.Size))
	return errors.Join(err, f.Close())
}
