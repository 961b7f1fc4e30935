package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// filesQuestion asks for a bundle's modules or packages, or a directory's sources.
type filesQuestion struct {
	Part  wire.Part         `json:"part"`  // "" for an archive
	Env   map[string]string `json:"env"`   // of the go command on the host, which says which modules are private
	Audit bool              `json:"audit"` // the signed list is enough
	Index string            `json:"index"` // give this one small file of it instead of the list
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
	case wire.PartPackages:
		p := (&shelf{ui: ui}).openPackageStore(ctx, location, q.Directory, q.TrustedKeys, action)
		defer p.close()
		if files, err = p.files, p.err; p.none != "" {
			err = noPackages(p.none)
		}
	default:
		err = fmt.Errorf("nothing is called %q: ask for %s, %s or %s", q.Part, wire.PartModules, wire.PartGopath, wire.PartPackages)
	}
	if err != nil {
		return nil, err
	}
	made := &offer{Release: wire.Release{Name: files.Name(), Evidence: files.Evidence(), Tree: files.Tree()}}
	switch {
	case q.Index != "":
		made.Manifest, err = files.PackedFile(q.Index)
		return made, err
	case len(q.Lacks) == 0:
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

// noPackages says why there are none, which only a host that lacks some has to know.
type noPackages string

func (n noPackages) Error() string { return string(n) }

// Is makes it the error of what is not there.
func (n noPackages) Is(target error) bool { return target == fs.ErrNotExist }

// writeTransfer writes a new file with what travels.
func writeTransfer(t *release.Transfer, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.NewSectionReader(t, 0, t.Size))
	return errors.Join(err, f.Close())
}
