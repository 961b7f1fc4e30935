//go:build linux

// Command drill kills gofleet and its agents at random instants, again and
// again, and looks each time at what is left: hosts must have a Go that works,
// whole, and the next run must succeed without help and leave nothing behind.
//
//	go run ./controller/e2e/drill -kills 500 -seed 1
//
// `make drill` runs it. What is killed, at which instant and during which job
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
	flag.StringVar(&d.real, "real", "", "directory with two real releases; one kill in ten then hits an install of one")
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
	seed         uint64
	real         string

	small []*rig.Toolchain // at least three, so that each upgrade is an install
	large []*rig.Toolchain // real ones
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
	for i := range 4 {
		t, err := programs.Make(fmt.Sprintf("1.26.%d", 90+i), rig.Shape{Files: 60, Noise: 2 << 20})
		if err != nil {
			return err
		}
		d.small = append(d.small, t)
	}
	if d.real != "" {
		if d.large, err = rig.Real(d.real); err != nil {
			return err
		}
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
