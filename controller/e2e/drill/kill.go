//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
			drill: d, world: w, host: h, figures: f, spans: map[string][]time.Duration{},
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

	has   state
	spans map[string][]time.Duration // how long a job's controller and agent lived, the last times
}

func (v *victim) suffer(ctx context.Context, kills int) error {
	for done := 0; done < kills; {
		j := v.choose()
		before := v.has
		hit, err := v.kill(ctx, j)
		if err != nil {
			return fmt.Errorf("%s, %s of a host with %s, to %s: %w", v.host.Name, j.name, before, state{now: j.want}, err)
		}
		if hit {
			done++
		}
	}
	return nil
}

// kill cuts a job, looks at the host, and does the job again, whole. It tells
// whether somebody was there to be killed.
func (v *victim) kill(ctx context.Context, j job) (bool, error) {
	if j.prepare != nil {
		if err := j.prepare(ctx); err != nil {
			return false, fmt.Errorf("prepare: %w", err)
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

// running is a job at work.
type running struct {
	run   *rig.Run // nil: there is no controller
	ended <-chan struct{}
}

func (v *victim) start(ctx context.Context, j job) (*running, error) {
	if j.args == nil {
		if err := v.host.StartAbsent(ctx); err != nil {
			return nil, err
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			v.host.AbsentEnded(ctx) // what stays is seen by look
		}()
		return &running{ended: ended}, nil
	}
	r, err := v.world.Start(ctx, v.vars(j), slices.Concat(j.args, []string{"-l", v.host.Name})...)
	if err != nil {
		return nil, err
	}
	return &running{run: r, ended: r.Ended()}, nil
}

func (v *victim) vars(j job) rig.Vars { return rig.Want(j.want, v.world.Everything(j.variant)) }

// cut starts a job and kills its controller or its agent at an instant of the
// life of either, which are about as long as they were the last times. It
// tells which was killed, and when; "" if there was nobody any more.
func (v *victim) cut(ctx context.Context, j job) (what string, at time.Duration, err error) {
	r, err := v.start(ctx, j)
	if err != nil {
		return "", 0, err
	}
	what = "agent"
	if r.run != nil && v.rand.IntN(2) == 0 {
		what = "controller"
	} else {
		v.await(ctx, r, true)
	}
	at = time.Duration(v.rand.Float64() * float64(v.span(j, what)))
	begun := time.Now()
	select {
	case <-time.After(at):
	case <-r.ended:
	case <-ctx.Done():
	}
	hit := what
	select {
	case <-r.ended:
		hit = ""
	default:
		if what == "controller" {
			err = r.run.Signal(syscall.SIGKILL)
		} else if !v.host.KillAgent(rig.Oldest) {
			hit = ""
		}
	}
	if hit == "" {
		v.learn(j, what, time.Since(begun))
	}
	if r.run != nil {
		o, werr := r.run.Wait()
		if werr == nil && o.Exit >= 0 && what == "controller" {
			hit = "" // it had just ended
		}
		err = errors.Join(err, werr)
	}
	return hit, at, errors.Join(err, v.host.Gone(ctx))
}

// await returns when the job's agent is there, or gone, or the job has ended.
func (v *victim) await(ctx context.Context, r *running, there bool) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for v.host.Agents() > 0 != there {
		select {
		case <-r.ended:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// remembered is how many lives are remembered of each kind.
const remembered = 5

// learn notes how long a job's controller or agent lived.
func (v *victim) learn(j job, what string, d time.Duration) {
	key := j.name + " " + what
	v.spans[key] = append(v.spans[key], d)
	if over := len(v.spans[key]) - remembered; over > 0 {
		v.spans[key] = v.spans[key][over:]
	}
}

// span is the shortest of these lives.
func (v *victim) span(j job, what string) time.Duration {
	if all := v.spans[j.name+" "+what]; len(all) > 0 {
		return slices.Min(all)
	}
	return 300 * time.Millisecond
}

// look judges what a kill left: the lock free, and a Go that works and is
// whole, the old one or the new one; none only where there was or would be
// none.
func (v *victim) look(ctx context.Context, j job) error {
	if err := v.host.Free(); err != nil {
		return err
	}
	if j.broken {
		_, err := v.host.Exec(ctx, "/usr/local/go/bin/go", "version")
		return err
	}
	known := slices.DeleteFunc([]*rig.Toolchain{v.has.now, j.want}, func(t *rig.Toolchain) bool { return t == nil })
	got, err := v.host.Current(ctx, known...)
	if err == nil && got == nil && v.has.now != nil && j.want != nil {
		err = fmt.Errorf("%s has no Go any more", v.host.Name)
	}
	return err
}

// whole does a job to its end, and wants the host to be as it should be.
func (v *victim) whole(ctx context.Context, j job) error {
	again := j
	if j.name == "rollback" {
		// One that was done before it was killed must not go further back.
		again.args = []string{"rollback", "--to", j.want.Version}
	}
	if err := v.finish(ctx, again); err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	if err := v.right(ctx, j); err != nil {
		return fmt.Errorf("after the next run: %w", err)
	}
	v.has = v.has.done(j)
	return nil
}

// finish does a job undisturbed.
func (v *victim) finish(ctx context.Context, j job) error {
	begun := time.Now()
	r, err := v.start(ctx, j)
	if err != nil {
		return err
	}
	if r.run == nil {
		defer func() { v.learn(j, "agent", time.Since(begun)) }()
		return v.host.Absent(ctx)
	}
	v.await(ctx, r, true)
	agent := time.Now()
	v.await(ctx, r, false)
	v.learn(j, "agent", time.Since(agent))
	o, err := r.run.Wait()
	v.learn(j, "controller", time.Since(begun))
	if err != nil {
		return err
	}
	return errors.Join(o.Err(), v.host.Gone(ctx))
}

// right judges a host on which a job was done.
func (v *victim) right(ctx context.Context, j job) error {
	if j.want == nil {
		return v.host.Bare()
	}
	if got, err := v.host.Current(ctx, j.want); err != nil || got != j.want {
		return fmt.Errorf("%s has %s: %w", v.host.Name, state{now: got}, err)
	}
	if err := v.host.Clean(); err != nil {
		return err
	}
	return v.world.Has(v.host, j.want, j.variant)
}
