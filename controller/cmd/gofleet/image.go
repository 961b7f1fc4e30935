package main

import (
	"errors"
	"fmt"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/image"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/remote"
)

// addRoot adds --root.
func addRoot(cmd *cobra.Command, o *order) {
	cmd.Flags().StringVar(&o.root, "root", "", "do it to the system image or container root that is mounted on this `directory`, in place of one host (docs/images.md)")
	cmd.MarkFlagDirname("root")
}

// openImage opens the image of --root, if it is given. What the image is to be
// is what one host of the inventory is to be.
func (p *planned) openImage() error {
	if p.order.root == "" {
		return nil
	}
	if len(p.hosts) != 1 {
		return hint(fmt.Errorf("--root %s: it is one image, and %d hosts are chosen", p.order.root, len(p.hosts)), "name the host that it is to be like, with -l HOST")
	}
	m, err := image.Open(p.order.root, p.order.action != wire.Audit && !p.order.check)
	var refused *image.Error
	switch {
	case errors.As(err, &refused):
		return hint(fmt.Errorf("--root %w", err), refused.Hint)
	case err != nil:
		return err
	}
	p.image = m
	s := p.specs[0]
	s.Image = true
	// They would be this machine's.
	c := &s.Preconditions
	c.Kernel, c.CPUs, c.Memory, c.Clock, c.ModuleProxy = nil, nil, nil, nil, nil
	p.notices = append(p.notices, fmt.Sprintf("%s is an image: kernel, cpus, memory, clock and module_proxy are not judged, and nothing is started in it", m.Dir()))
	return nil
}

func (p *planned) closeImage() {
	if p.image != nil {
		p.image.Close() // its lock goes; an error would help nobody
	}
}

// targets are where the hosts of the run are reached.
func (p *planned) targets(c *connector) ([]remote.Target, error) {
	if p.image == nil {
		return c.targets(p.hosts)
	}
	name := p.hosts[0].Name
	return []remote.Target{{Name: name, Local: true, Shell: func(line string) *exec.Cmd { return p.image.Command(name, line) }}}, nil
}

// seedsOf are the seeds of a run, of which an image has none.
func (p *planned) seedsOf(inv *inventory.Inventory, specs []*spec.Spec) (map[string]seedOf, error) {
	if p.image != nil {
		return nil, nil
	}
	return sites(inv, p.hosts, specs, p.order.via)
}
