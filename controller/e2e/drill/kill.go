//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
)

// drill drills all hosts at once, each with its share of kills.
func (d *drill) drill(ctx context.Context, w *rig.World) (*figures, error) {
	f := newFigures()
	g, ctx := errgroup.WithContext(ctx)
	for i, h := range w.Hosts() {
		n := d.kills / d.hosts
		if i < d.kills%d.hosts {
			n++
		}
		v := &victim{
			drill: d, world: w, host: h, figures: f, median: map[string]time.Duration{},
			rand: rand.New(rand.NewPCG(d.seed, uint64(i))),
		}
		g.Go(func() error { return v.suffer(ctx, n) })
	}
	return f, g.Wait()
}

// victim is one host and what happens to it.
type victim struct {
	*drill
	world   *rig.World
	host    *rig.Host
	figures *figures
	rand    *rand.Rand

	now, before *rig.Toolchain           // what the host has, and had
	median      map[string]time.Duration // how long a job takes about
}

// job is one thing that a run does.
type job struct {
	name string
	args []string
	want *rig.Toolchain // what the host has when it is done
	// prepare changes the host behind gofleet's back.
	prepare func(ctx context.Context) error
	// variant of the deploy user and the environment.
	variant int
	// broken: until the job is done, the host's toolchain is not whole.
	broken bool
}

func (v *victim) suffer(ctx context.Context, kills int) error {
	v.now = v.small[0]
	if err := v.whole(ctx, job{name: "install", args: []string{"apply"}, want: v.now}); err != nil {
		return err
	}
	for done := 0; done < kills; {
		j := v.choose()
		j.variant = v.rand.IntN(2)
		hit, err := v.kill(ctx, j)
		if err != nil {
			return fmt.Errorf("%s, %s to go%s: %w", v.host.Name, j.name, j.want.Version, err)
		}
		if hit {
			done++
		}
	}
	return nil
}

// choose draws the next job.
func (v *victim) choose() job {
	upgrade := func(from []*rig.Toolchain, name string) job {
		for {
			if t := from[v.rand.IntN(len(from))]; t != v.now {
				return job{name: name, args: []string{"apply"}, want: t}
			}
		}
	}
	switch n := v.rand.IntN(20); {
	case n < 2 && len(v.large) > 0:
		return upgrade(v.large, "upgrade to a real Go")
	case n < 4 && v.before != nil:
		return job{name: "rollback", args: []string{"rollback"}, want: v.before}
	case n < 7:
		return job{name: "repair", args: []string{"apply"}, want: v.now, broken: true, prepare: func(ctx context.Context) error {
			_, err := v.host.Exec(ctx, "sh", "-c", "cd -P /usr/local/go && echo altered > bin/gofmt")
			return err
		}}
	}
	return upgrade(v.small, "upgrade")
}

// kill cuts a job, looks at the host, and does the job again, whole. It tells
// whether somebody was there to be killed.
func (v *victim) kill(ctx context.Context, j job) (bool, error) {
	if j.prepare != nil {
		if err := j.prepare(ctx); err != nil {
			return false, err
		}
	}
	begun := time.Now()
	what, at, err := v.cut(ctx, j)
	if err == nil {
		err = v.look(ctx, j)
	}
	if err == nil {
		err = v.whole(ctx, j)
	}
	if err != nil {
		return false, fmt.Errorf("%s killed at %s: %w", cmp.Or(what, "nobody"), at.Round(time.Millisecond), err)
	}
	v.figures.add(j.name, what, time.Since(begun))
	return what != "", nil
}

// cut starts a job and kills the controller or the agent at an instant within
// the time that the job takes about. It tells which; "" if there was nobody.
func (v *victim) cut(ctx context.Context, j job) (what string, at time.Duration, err error) {
	r, err := v.world.Start(ctx, rig.Want(j.want, v.world.Everything(j.variant)), append(j.args, "-l", v.host.Name)...)
	if err != nil {
		return "", 0, err
	}
	at = time.Duration(v.rand.Float64() * float64(cmp.Or(v.median[j.name], time.Second)))
	what = []string{"agent", "controller"}[v.rand.IntN(2)]
	select {
	case <-time.After(at):
	case <-r.Ended():
	case <-ctx.Done():
	}
	select {
	case <-r.Ended():
		what = ""
		v.learn(j.name, at)
	default:
		if what == "controller" {
			err = r.Signal(syscall.SIGKILL)
		} else if !v.host.KillAgent() {
			what = ""
		}
	}
	o, werr := r.Wait()
	if werr == nil && o.Exit >= 0 && what == "controller" {
		what = "" // it had just ended
	}
	return what, at, errors.Join(err, werr, v.host.Gone(ctx))
}

// learn notes how long a job takes about.
func (v *victim) learn(name string, d time.Duration) {
	if old := v.median[name]; old != 0 {
		d = (3*old + d) / 4
	}
	v.median[name] = d
}

// look judges what a kill left: the lock free, and a Go that works and is
// whole, the old one or the new one.
func (v *victim) look(ctx context.Context, j job) error {
	if err := v.host.Free(); err != nil {
		return err
	}
	if j.broken {
		_, err := v.host.Exec(ctx, "/usr/local/go/bin/go", "version")
		return err
	}
	_, err := v.host.Current(ctx, v.now, j.want)
	return err
}

// whole does a job to its end, and wants the host to be as it should be.
func (v *victim) whole(ctx context.Context, j job) error {
	begun := time.Now()
	// A rollback that was done before it was killed must not go further back.
	args := j.args
	if j.name == "rollback" {
		args = []string{"rollback", "--to", j.want.Version}
	}
	if _, err := v.world.MustRun(ctx, rig.Want(j.want, v.world.Everything(j.variant)), append(args, "-l", v.host.Name)...); err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	v.learn(j.name, time.Since(begun))
	if err := v.host.Gone(ctx); err != nil {
		return err
	}
	if got, err := v.host.Current(ctx, j.want); err != nil || got != j.want {
		return fmt.Errorf("after the next run: %v, %w", got, err)
	}
	if err := v.host.Clean(); err != nil {
		return fmt.Errorf("after the next run: %w", err)
	}
	if j.name != "rollback" { // which is about toolchains and the environment only
		if err := v.world.Has(v.host, j.variant); err != nil {
			return fmt.Errorf("after the next run: %w", err)
		}
	}
	switch {
	case j.name == "rollback":
		v.before = nil
	case j.want != v.now:
		v.before = v.now
	}
	v.now = j.want
	return nil
}
