//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
)

// job is one thing that is done to a host.
type job struct {
	name string
	args []string       // of gofleet; nil is the collection's `state: absent`
	want *rig.Toolchain // what the run asks for, and what the host has when it is done; nil is nothing
	// prepare changes the host, some of it behind gofleet's back.
	prepare func(ctx context.Context) error
	variant int  // of the deploy user and the environment
	broken  bool // until the job is done, the host's toolchain is not whole
}

// state is what a host has.
type state struct {
	now, before *rig.Toolchain // its Go, and the one that a rollback goes to; nil is none
	variant     int
}

// choose draws the next job.
func (v *victim) choose() job {
	j := v.draw()
	j.variant = v.rand.IntN(2)
	if j.name == "rollback" || j.name == "remove" {
		j.variant = v.has.variant // they are not about the deploy user
	}
	return j
}

func (v *victim) draw() job {
	switch n := v.rand.IntN(20); {
	case v.has.now == nil, n < 3:
		return job{name: "install", args: []string{"apply"}, want: v.other(v.all()), prepare: v.bare}
	case n < 6 && v.has.before != nil:
		return job{name: "rollback", args: []string{"rollback"}, want: v.has.before}
	case n < 8 && v.has.before != nil:
		return job{name: "remove", args: []string{"remove", "--version", v.has.before.Version}, want: v.has.now}
	case n < 9:
		return job{name: "remove all"}
	case n < 12:
		return job{name: "repair", args: []string{"apply"}, want: v.has.now, broken: true, prepare: v.spoil}
	}
	return job{name: "upgrade", args: []string{"apply"}, want: v.other(v.all())}
}

// all are the toolchains to choose from: real ones, if there are any.
func (v *victim) all() []*rig.Toolchain {
	if len(v.real) > 0 {
		return v.real
	}
	return v.small
}

// other is one of these that the host does not have now.
func (v *victim) other(of []*rig.Toolchain) *rig.Toolchain {
	of = slices.DeleteFunc(slices.Clone(of), func(t *rig.Toolchain) bool { return t == v.has.now })
	return of[v.rand.IntN(len(of))]
}

// bare takes everything off the host.
func (v *victim) bare(ctx context.Context) error {
	if v.has.now == nil {
		return nil
	}
	if err := v.host.StartAbsent(ctx); err != nil {
		return err
	}
	if err := v.host.Absent(ctx); err != nil {
		return err
	}
	v.has = state{}
	return v.host.Bare()
}

// spoil alters a program of the current toolchain.
func (v *victim) spoil(ctx context.Context) error {
	_, err := v.host.Exec(ctx, "sh", "-c", "cd -P /usr/local/go && echo altered > bin/gofmt")
	return err
}

// done is what the host has after a job.
func (s state) done(j job) state {
	switch {
	case j.want == nil:
		return state{}
	case j.name == "rollback":
		// The environment comes from the inventory; the previous is forgotten.
		return state{now: j.want, variant: s.variant}
	case j.name == "remove":
		return state{now: s.now, variant: s.variant}
	case j.want == s.now:
		return state{now: s.now, before: s.before, variant: j.variant}
	}
	return state{now: j.want, before: s.now, variant: j.variant}
}

func (s state) String() string {
	if s.now == nil {
		return "no Go"
	}
	return fmt.Sprintf("go%s", s.now.Version)
}
