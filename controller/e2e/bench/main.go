// Command bench measures gofleet beside its peers: the same job on the same
// lab hosts of this machine, in turns, and prints medians and ratios.
//
//	go run ./controller/e2e/bench -archive DIR/go1.26.8.linux-amd64.module.tar.gz
//
// `make bench` runs it with everything in place. Ratios within one run are what
// it is for: the machine's speed drifts, and seconds of two runs don't compare.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

func main() {
	lab.Main()
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	var b bench
	flag.IntVar(&b.hosts, "hosts", 8, "lab hosts")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds; the table has their medians")
	flag.StringVar(&b.archive, "archive", "", "the Go archive to install")
	flag.StringVar(&b.from, "from", "", "an older Go archive, to upgrade from; empty leaves the upgrades out")
	flag.StringVar(&b.gofleet, "gofleet", "bin/gofleet", "the gofleet to measure")
	flag.StringVar(&b.pyinfra, "pyinfra", "", "pyinfra's program; empty leaves that peer out")
	flag.StringVar(&b.ansible, "ansible-playbook", "", "ansible-playbook; empty leaves that peer out")
	flag.Func("only", "measure only the peers whose name this regular expression matches", func(s string) (err error) {
		b.only, err = regexp.Compile(s)
		return err
	})
	flag.StringVar(&b.disk, "disk", "", "keep the hosts' files below this directory instead of on tmpfs")
	simulated := flag.Int("simulated", 5000, "simulated hosts, for the controller's speed and memory; 0 leaves that out")
	agent := flag.String("agent", "bin/agents/gofleet-agent-linux-"+runtime.GOARCH, "the agent to weigh")
	serve := flag.Int("serve-simulated", 0, "serve so many simulated hosts until stdin ends (the bench starts itself so)")
	onlyUpgrade := flag.Bool("only-upgrade", false, "measure the upgrades alone")
	onlySite := flag.Bool("only-site", false, "measure a site with a seed alone")
	bundleMB := flag.Int64("bundle", 1000, "megabytes of the bundle that is made and proved; 0 leaves that out")
	onlyBundle := flag.Bool("only-bundle", false, "measure the bundle alone")
	create := flag.String("bundle-create", "", "make the bundle and end (the bench starts itself so)")
	dir := flag.String("dir", "", "where -serve-simulated writes its inventory")
	flag.Parse()
	for _, path := range []*string{&b.archive, &b.from} {
		if *path == "" {
			continue
		}
		var err error // inventories lie elsewhere, and their paths count from there
		if *path, err = filepath.Abs(*path); err != nil {
			log.Fatal(err)
		}
	}
	if *serve > 0 {
		if err := serveSimulated(*serve, *dir); err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *create != "" {
		if err := createBundle(ctx, *create, b.archive, *bundleMB*1e6); err != nil {
			log.Fatal(err)
		}
		return
	}
	if *onlyBundle {
		if err := b.bundles(ctx, *bundleMB*1e6); err != nil {
			log.Fatal(err)
		}
		return
	}
	if *onlySite {
		if err := b.site(ctx); err != nil {
			log.Fatal(err)
		}
		return
	}
	err := b.agents(ctx, *agent)
	if err == nil && *simulated > 0 {
		err = b.simulated(ctx, *simulated)
	}
	if err == nil && b.from != "" && b.rounds > 0 {
		err = b.upgrade(ctx)
	}
	if err == nil && b.rounds > 0 && !*onlyUpgrade {
		err = b.site(ctx)
	}
	if err == nil && *bundleMB > 0 && !*onlyUpgrade {
		err = b.bundles(ctx, *bundleMB*1e6)
	}
	if err == nil && b.rounds > 0 && !*onlyUpgrade {
		err = b.run(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// bench is one run of the bench.
type bench struct {
	hosts, rounds int
	archive       string
	from          string
	gofleet       string
	pyinfra       string
	ansible       string
	disk          string
	only          *regexp.Regexp // nil: every peer

	work    string // scratch directory
	version string
	sha256  string
}

func (b *bench) run(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer os.RemoveAll(b.work)
	peers := b.peers()
	table := newTable(peers)
	for round := range b.rounds {
		for _, p := range peers {
			if err := b.measure(ctx, p, table); err != nil {
				return fmt.Errorf("%s, round %d: %w", p.name, round+1, err)
			}
		}
		log.Printf("round %d of %d done", round+1, b.rounds)
	}
	on := "tmpfs"
	if b.disk != "" {
		on = b.disk
	}
	fmt.Printf("go%s on %d lab hosts on %s, %d CPUs, medians of %d rounds (lowest to highest)\n\n",
		b.version, b.hosts, on, runtime.NumCPU(), b.rounds)
	table.print(os.Stdout)
	fmt.Println()
	table.printGoals(os.Stdout)
	fmt.Println()
	return b.verification(ctx)
}
