package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// agents prints what the agents weigh and how fast one is up.
func (b *bench) agents(ctx context.Context, agent string) error {
	program, err := os.ReadFile(agent)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(program); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	best := time.Hour
	for range 20 {
		begun := time.Now()
		if err := run(exec.CommandContext(ctx, agent, "version")); err != nil {
			return err
		}
		best = min(best, time.Since(begun))
	}
	fmt.Printf("agent: %.2f MB on disk, %.2f MB compressed, up and done in %.1f ms at best of 20\n",
		float64(len(program))/1e6, float64(packed.Len())/1e6, best.Seconds()*1e3)
	return nil
}
