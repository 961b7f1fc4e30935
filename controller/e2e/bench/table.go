package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// job is what is measured of a peer.
type job int

const (
	install job = iota // on fresh hosts
	idle               // the same again: nothing to do
	jobs
)

// table collects durations by peer and job.
type table struct {
	peers []*peer
	times map[*peer]*[jobs][]time.Duration
}

func newTable(peers []*peer) *table {
	t := &table{peers: peers, times: map[*peer]*[jobs][]time.Duration{}}
	for _, p := range peers {
		t.times[p] = new([jobs][]time.Duration)
	}
	return t
}

func (t *table) add(p *peer, j job, d time.Duration) {
	t.times[p][j] = append(t.times[p][j], d)
}

// print writes the seconds of every peer, and gofleet's share of them.
func (t *table) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "\tfirst install\tnothing to do\tgofleet installs in\tgofleet idles in")
	var ours *peer
	for _, p := range t.peers {
		if ours == nil && p.ours {
			ours = p
		}
	}
	for _, p := range t.peers {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", p.name,
			spread(t.times[p][install]), spread(t.times[p][idle]),
			t.ratio(ours, p, install), t.ratio(ours, p, idle))
	}
	tw.Flush()
}

// ratio is the median of ours by the peer's, round by round.
func (t *table) ratio(ours, p *peer, j job) string {
	shares := t.shares(ours, p, j)
	if shares == nil {
		return ""
	}
	return fmt.Sprintf("%.2f × its time", median(shares))
}

func spread(ds []time.Duration) string {
	if len(ds) == 0 {
		return ""
	}
	s := make([]float64, len(ds))
	for i, d := range ds {
		s[i] = d.Seconds()
	}
	slices.Sort(s)
	return fmt.Sprintf("%.2f s (%.2f–%.2f)", median(s), s[0], s[len(s)-1])
}

// median is that of a sorted, non-empty slice.
func median(s []float64) float64 {
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}
