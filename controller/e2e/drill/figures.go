//go:build linux

package main

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// resumed is what runs that went on are counted as.
const resumed = "resumed"

// figures count what was killed, in which job.
type figures struct {
	mu      sync.Mutex
	counts  map[[2]string]int // job, what was killed
	seconds []float64         // of a kill, with all that follows it
}

func newFigures() *figures { return &figures{counts: map[[2]string]int{}} }

// add counts a run that was cut; what is "" if nobody was there to be killed.
func (f *figures) add(job, what string, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[[2]string{job, what}]++
	if what != "" {
		f.seconds = append(f.seconds, took.Seconds())
	}
}

func (f *figures) print(w io.Writer, d *drill, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	missed := 0
	columns, rows := map[string]int{}, map[string]bool{}
	for k, n := range f.counts {
		if k[1] == "" {
			missed += n
			continue
		}
		rows[k[0]] = true
		columns[k[1]] += n
	}
	heads := slices.Sorted(maps.Keys(columns))
	fmt.Fprintf(w, "| | %s |\n|---|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
	for _, row := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(w, "| %s |", row)
		for _, c := range heads {
			fmt.Fprintf(w, " %d |", f.counts[[2]string{row, c}])
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\n%d kills with seed %d on %d hosts, %d CPUs, in %s; %d more came too late or too early.\n",
		len(f.seconds), d.seed, d.hosts, runtime.NumCPU(), took.Round(time.Second), missed)
	slices.Sort(f.seconds)
	if n := len(f.seconds); n > 0 {
		fmt.Fprintf(w, "A kill, the look at the host and the next run took %.1f s in the middle, %.1f s at most.\n", f.seconds[n/2], f.seconds[n-1])
	}
}

// sum is how many faults there were.
func (f *figures) sum() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for k, count := range f.counts {
		if k[1] != "" {
			n += count
		}
	}
	return n
}

func (f *figures) printNetwork(w io.Writer, n *network, took time.Duration) {
	sum := f.sum()
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintln(w, "| what broke | times |\n|---|---|")
	var names []string
	late := 0
	for k, count := range f.counts {
		switch {
		case k[1] != "":
			names = append(names, k[0])
		case k[0] != resumed:
			late += count
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(w, "| %s | %d |\n", name, f.counts[[2]string{name, "network"}])
	}
	fmt.Fprintf(w, "\n%d faults in %d rounds with seed %d on %d hosts, a third of them behind a jump host, %d CPUs, in %s; %d more came too late. %d runs were resumed.\n",
		sum, n.rounds, n.seed, len(n.hosts), runtime.NumCPU(), took.Round(time.Second), late, f.counts[[2]string{resumed, ""}])
}
