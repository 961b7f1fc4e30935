//go:build linux

// Command drill kills gofleet and its agents at random instants, again and
// again, and looks each time at what is left: hosts must have a Go that works,
// whole, and the next run must succeed without help and leave nothing behind.
//
//	go run ./controller/e2e/drill -kills 500 -seed 1
//	go run ./controller/e2e/drill -network 200 -seed 1 -hosts 6
//
// With -network it breaks the ways to the hosts of one run in batches instead,
// their sshd and their keys, and compares the journal with the hosts.
//
// `make drill` runs it. What breaks, at which instant and during which job
// comes from the seed; what a host has done by that instant does not.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
	"github.com/gofleet/gofleet/controller/internal/lab"
)

func main() {
	lab.Main()
	log.SetFlags(0)
	log.SetPrefix("drill: ")
	var d drill
	flag.IntVar(&d.kills, "kills", 500, "kills, all in all")
	flag.Uint64Var(&d.seed, "seed", uint64(time.Now().Unix()), "what the kills are drawn from")
	flag.IntVar(&d.hosts, "hosts", 4, "hosts, each drilled on its own")
	flag.IntVar(&d.network, "network", 0, "instead of kills, so many faults of the network, of sshd, keys and jump host under one run in batches")
	flag.StringVar(&d.dir, "real", "", "directory with two or more real releases, to be installed instead of small ones")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := d.run(ctx); err != nil {
		log.Fatal(err)
	}
}

// drill is one run of the drill.
type drill struct {
	kills, hosts int
	network      int
	seed         uint64
	dir          string // of real releases

	real  []*rig.Toolchain
	small []*rig.Toolchain // more than a host keeps, so that most upgrades install
}

func (d *drill) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gofleet-drill-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	programs, err := rig.Build(ctx, ".", dir)
	if err != nil {
		return err
	}
	// One of them is so old that its settings go to the deploy user's home.
	for _, version := range []string{"1.20.90", "1.26.90", "1.26.91", "1.26.92"} {
		t, err := programs.Make(version, rig.Shape{Files: 60, Noise: 2 << 20})
		if err != nil {
			return err
		}
		d.small = append(d.small, t)
	}
	if d.dir != "" {
		if d.real, err = rig.Real(d.dir); err != nil {
			return err
		}
	}
	if d.network > 0 {
		return d.drillNetwork(ctx, programs)
	}
	c := lab.Config{Name: "drill"}
	for i := range d.hosts {
		c.Hosts = append(c.Hosts, lab.HostConfig{Name: fmt.Sprintf("h%d", i+1)})
	}
	w, err := programs.Up(ctx, "drill", c)
	if err != nil {
		return err
	}
	begun := time.Now()
	figures, err := d.drill(ctx, w)
	figures.print(os.Stdout, d, time.Since(begun))
	if derr := w.Down(); err == nil {
		err = derr
	}
	return err
}
