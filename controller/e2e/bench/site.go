package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// siteGoal is the most that a site of eight with a seed means to have of the
// bytes without one: an eighth, and what talking to eight hosts takes.
const siteGoal = 0.2

// site prints what goes over the controller's link, counted at its interface,
// when the archive is installed on all hosts: sent to each, and to one of them
// which hands it on.
func (b *bench) site(ctx context.Context) error {
	st, err := os.Stat(b.archive)
	if err != nil {
		return err
	}
	alone, aloneTook, err := b.overTheLink(ctx)
	if err != nil {
		return fmt.Errorf("without a seed: %w", err)
	}
	seeded, seededTook, err := b.overTheLink(ctx, "--via", "h1")
	if err != nil {
		return fmt.Errorf("with a seed: %w", err)
	}
	fmt.Printf("%s, the gzip file as it is, to %d lab hosts, %d CPUs: what the controller's interface sent\n\n",
		filepath.Base(b.archive), b.hosts, runtime.NumCPU())
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "\tseconds\tMB\tarchives")
	for _, row := range []struct {
		name string
		took time.Duration
		sent int64
	}{{"to each host", aloneTook, alone}, {"to a seed (--via)", seededTook, seeded}} {
		fmt.Fprintf(tw, "%s\t%.1f\t%.1f\t%.2f\n", row.name, row.took.Seconds(), float64(row.sent)/1e6, float64(row.sent)/float64(st.Size()))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	share, verdict := float64(seeded)/float64(alone), "met"
	if share > siteGoal {
		verdict = "missed"
	}
	fmt.Printf("\nshare of the bytes with a seed: %.2f, at most %.2f: %s\n\n", share, siteGoal, verdict)
	return nil
}

// overTheLink installs the archive on fresh hosts, and gives how many bytes the
// controller sent for that, the agent to each host included, and how long it
// took.
func (b *bench) overTheLink(ctx context.Context, options ...string) (sent int64, took time.Duration, err error) {
	options = append([]string{"--encoding", "gzip"}, options...)
	err = b.withHosts(ctx, b.hosts, func(l *lab.Lab) error {
		before, err := l.Sent()
		if err != nil {
			return err
		}
		begun := time.Now()
		if err := b.applyRelease(ctx, l, b.archive, options...); err != nil {
			return err
		}
		took = time.Since(begun)
		after, err := l.Sent()
		sent = after - before
		return err
	})
	return sent, took, err
}
