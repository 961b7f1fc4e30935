package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// maxQuestion bounds what offer reads, in bytes.
const maxQuestion = 1 << 20

// offerQuestion is what the collection asks: for an archive of a version for
// a platform, or a file tree, judged as apply judges it.
type offerQuestion struct {
	Version     string        `json:"version"`
	Platform    spec.Platform `json:"platform"`
	SHA256      string        `json:"sha256"`       // the pin; "" if there is none
	Location    string        `json:"location"`     // directory or bundle
	Directory   string        `json:"directory"`    // of the inventory, which paths of keys are relative to
	TrustedKeys []string      `json:"trusted_keys"` // whose bundles are taken
	Transfer    bool          `json:"transfer"`     // say what would travel, and make it if need be
	Hosts       int           `json:"hosts"`        // that it may travel to
	filesQuestion
}

// offered answers an offerQuestion.
type offered struct {
	Offer   *offer   `json:"offer,omitempty"`
	Problem *noOffer `json:"problem,omitempty"`
}

type offer struct {
	Release  wire.Release   `json:"release"`
	Transfer *wire.Transfer `json:"transfer,omitempty"` // with the tree manifest
	File     string         `json:"file,omitempty"`     // that has what travels
	Manifest []byte         `json:"manifest,omitempty"` // of a file tree: the list of what is in it, or the one file that was asked for, packed
}

type noOffer struct {
	Missing bool   `json:"missing"` // there is no archive; else there is one that is not believed
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// offerCommand is how the Ansible collection asks gofleet for archives.
func (a *app) offerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "offer",
		Hidden: true, // for programs
		Short:  "tell the Ansible collection which archive, modules, sources or packages to send",
		Long: `offer reads one question as JSON from standard input and answers as JSON: which
archive of a version there is for a platform in a directory or bundle, why it is
believed, as apply believes it, and which file has what travels to hosts, as apply
makes it; or likewise a bundle's modules or packages, or a directory of sources.
The Ansible collection asks it.`,
		Example: `  gofleet offer <<end
  {"version": "1.26.8", "platform": "linux/amd64", "location": "site.bundle"}
  end`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var q offerQuestion
			d := json.NewDecoder(io.LimitReader(a.stdin, maxQuestion))
			if err := d.Decode(&q); err != nil {
				return fmt.Errorf("read the question: %w", err)
			}
			var answer offered
			give := a.offer
			if q.Part != "" {
				give = a.offerFiles
			}
			o, err := give(cmd.Context(), q)
			if answer.Offer = o; err != nil {
				p := problemsOf(err)[0]
				answer.Problem = &noOffer{Message: p.Message, Hint: p.Hint}
				var missing *release.MissingError
				answer.Problem.Missing = errors.As(err, &missing) || q.Part != "" && errors.Is(err, fs.ErrNotExist)
			}
			return json.NewEncoder(a.stdout).Encode(answer)
		},
	}
}

func (a *app) offer(ctx context.Context, q offerQuestion) (*offer, error) {
	ui, err := a.reporter()
	if err != nil {
		return nil, err
	}
	o := release.Options{Location: q.Location, Zstd: q.Transfer && q.Hosts >= fleet.ZstdFrom}
	if q.SHA256 != "" {
		o.Pins = map[spec.Platform]string{q.Platform: q.SHA256}
	}
	if bundle.Is(q.Location) {
		b, err := (&shelf{ui: ui}).openBundle(ctx, q.Location, q.Directory, q.TrustedKeys)
		if err != nil {
			return nil, err
		}
		defer b.Close()
		o.Bundle = b
	}
	store, err := release.NewStore(o)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	archive, err := store.Open(ctx, q.Version, q.Platform)
	if err != nil {
		return nil, err
	}
	made := &offer{Release: wire.Release{
		Version: archive.Version(), Platform: archive.Platform(), Name: archive.Name(), SHA256: archive.SHA256(),
		Evidence: archive.Evidence().String(), Tree: archive.Tree(),
	}}
	if !q.Transfer {
		return made, nil
	}
	return made, made.addTransfer(ctx, archive, q.Hosts)
}

// addTransfer says what travels: the zstd form where it pays or is there
// already, or where the archive is no file by itself, else the file as it is.
func (o *offer) addTransfer(ctx context.Context, archive *release.Archive, hosts int) error {
	encoding := wire.Gzip
	st, err := os.Stat(archive.Path())
	if err != nil || !st.Mode().IsRegular() || hosts >= fleet.ZstdFrom || archive.HasTransfer(wire.Zstd) {
		encoding = wire.Zstd
	}
	t, err := archive.Transfer(ctx, encoding, nil)
	if err != nil {
		return err
	}
	transfer := t.Transfer
	if transfer.Manifest, err = archive.PackedManifest(); err != nil {
		return err
	}
	o.File, o.Transfer = archive.TransferPath(encoding), &transfer
	return nil
}
