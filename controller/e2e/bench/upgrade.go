package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// way is one in which an upgrade's bytes come to hosts.
type way struct {
	name    string
	options []string
	seconds []time.Duration
	bytes   []int64 // a host, all that its network brought
}

// upgrade measures an upgrade from the release in b.from: by difference, which
// is made in a first round that does not count, and with whole archives.
func (b *bench) upgrade(ctx context.Context) error {
	ways := []*way{
		{name: "upgrade by difference"},
		{name: "upgrade with the whole archive, zstd", options: []string{"--whole", "--encoding", "zstd"}},
		{name: "upgrade with the whole archive, gzip", options: []string{"--whole", "--encoding", "gzip"}},
	}
	for round := range b.rounds + 1 {
		for _, w := range ways {
			if err := b.upgradeOnce(ctx, w, round > 0); err != nil {
				return fmt.Errorf("%s, round %d: %w", w.name, round, err)
			}
		}
		log.Printf("upgrade: round %d of %d done", round, b.rounds)
	}
	fmt.Printf("%s to %s on %d lab hosts, %d CPUs, medians of %d rounds\n\n",
		filepath.Base(b.from), filepath.Base(b.archive), b.hosts, runtime.NumCPU(), b.rounds)
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "\tseconds\tMB a host\tof the archive")
	st, err := os.Stat(b.archive)
	if err != nil {
		return err
	}
	for _, w := range ways {
		slices.Sort(w.bytes)
		n := w.bytes[len(w.bytes)/2]
		fmt.Fprintf(tw, "%s\t%s\t%.1f\t%.0f %%\n", w.name, spread(w.seconds), float64(n)/1e6, 100*float64(n)/float64(st.Size()))
	}
	fmt.Fprintln(tw)
	return tw.Flush()
}

func (b *bench) upgradeOnce(ctx context.Context, w *way, counts bool) error {
	return b.withHosts(ctx, b.hosts, func(l *lab.Lab) error {
		if err := b.applyRelease(ctx, l, b.from); err != nil {
			return err
		}
		before, err := received(ctx, l)
		if err != nil {
			return err
		}
		begun := time.Now()
		if err := b.applyRelease(ctx, l, b.archive, w.options...); err != nil {
			return err
		}
		took := time.Since(begun)
		after, err := received(ctx, l)
		if err == nil && counts {
			w.seconds = append(w.seconds, took)
			w.bytes = append(w.bytes, (after-before)/int64(b.hosts))
		}
		return err
	})
}

// applyRelease installs the release that a file holds.
func (b *bench) applyRelease(ctx context.Context, l *lab.Lab, archive string, options ...string) error {
	version, _, ok := strings.Cut(strings.TrimPrefix(filepath.Base(archive), "go"), ".linux-")
	if !ok {
		return fmt.Errorf("%s is not named like a Go archive", archive)
	}
	vars, err := json.Marshal(map[string]string{"gofleet_go_version": version, "gofleet_archives": filepath.Dir(archive)})
	if err != nil {
		return err
	}
	args := append([]string{"apply", "-i", l.InventoryFile(), "-b", "--uploads", fmt.Sprint(b.hosts), "-e", string(vars)}, options...)
	return run(exec.CommandContext(ctx, b.gofleet, args...))
}

// received is how many bytes came to all hosts since they are up.
func received(ctx context.Context, l *lab.Lab) (int64, error) {
	var sum int64
	for _, h := range l.Hosts {
		out, err := h.Exec(ctx, "cat", "/sys/class/net/eth0/statistics/rx_bytes")
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
