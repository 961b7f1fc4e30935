package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// goal is the share of a peer's time that gofleet means to need at most. Peers
// are known by how their names begin.
type goal struct {
	ours, peer string
	job        job
	most       float64
}

var goals = []goal{
	{"gofleet apply, zstd", "ssh", install, 0.60},
	{"gofleet apply, the gzip", "ssh", install, 0.85},
	{"gofleet apply, zstd", "ssh", idle, 1.5},
	{"gofleet apply --serial", "gofleet apply, zstd", install, 1.05},
	{"gofleet apply, zstd and a baseline", "gofleet apply, zstd", idle, 1.2},
	{"gofleet apply, zstd", "pyinfra", install, 1 / 2.0},
	{"gofleet apply, zstd", "pyinfra", idle, 1 / 2.5},
	{"gofleet apply, zstd", "ansible-playbook", install, 1 / 3.0},
	{"gofleet apply, zstd", "ansible-playbook", idle, 1 / 10.0},
	{"the collection's role", "ansible-playbook", install, 0.5},
	{"the collection's role", "ansible-playbook", idle, 1 / 3.0},
}

// printGoals writes what share of the peers' time gofleet needed, and what it
// means to need. Shares are of the same round: the machine's speed drifts.
func (t *table) printGoals(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "\tshare of its time\tat most\t")
	for _, g := range goals {
		ours, peer := t.find(g.ours), t.find(g.peer)
		shares := t.shares(ours, peer, g.job)
		if shares == nil {
			continue
		}
		verdict := "met"
		if median(shares) > g.most {
			verdict = "missed"
		}
		fmt.Fprintf(tw, "%s: %s, beside %s\t%.2f (%.2f–%.2f)\t%.2f\t%s\n", g.job, ours.name, peer.name,
			median(shares), shares[0], shares[len(shares)-1], g.most, verdict)
	}
	tw.Flush()
}

func (t *table) find(name string) *peer {
	i := slices.IndexFunc(t.peers, func(p *peer) bool { return strings.HasPrefix(p.name, name) })
	if i < 0 {
		return nil
	}
	return t.peers[i]
}

// shares are ours by the peer's time, round by round, sorted; nil if either
// was not measured.
func (t *table) shares(ours, p *peer, j job) []float64 {
	if ours == nil || p == nil || ours == p {
		return nil
	}
	a, b := t.times[ours][j], t.times[p][j]
	if len(a) == 0 || len(a) != len(b) {
		return nil
	}
	shares := make([]float64, len(a))
	for i := range a {
		shares[i] = a[i].Seconds() / b[i].Seconds()
	}
	slices.Sort(shares)
	return shares
}

func (j job) String() string {
	if j == install {
		return "first install"
	}
	return "nothing to do"
}
