package main

import (
	"errors"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/ansiblecfg"
	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/release"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// problems is an error made of several, each with its place, hosts and hint.
type problems []report.Problem

func (p problems) Error() string {
	var lines []string
	for _, one := range p {
		lines = append(lines, strings.TrimPrefix(one.Where+": "+one.Message, ": "))
	}
	return strings.Join(lines, "\n")
}

// errOrNil keeps an empty list from being an error.
func (p problems) errOrNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// addOf adds what err says of one host; where stands in what has no place of
// its own.
func (p *problems) addOf(host string, err error, where string) {
	for _, one := range problemsOf(err) {
		one.Hosts = []string{host}
		if one.Where == "" {
			one.Where = where
		}
		*p = append(*p, one)
	}
}

// hint makes an error with the way out.
func hint(err error, text string) error {
	return problems{{Message: err.Error(), Hint: text}}
}

// printError shows what ended a command that contacted nothing.
func (a *app) printError(err error) {
	ui, uiErr := report.New(report.Options{Stdout: a.stdout, Stderr: a.stderr, Look: a.look()})
	if uiErr != nil {
		panic(uiErr) // the default format exists
	}
	ui.Problems(problemsOf(err)...)
}

// problemsOf takes an error apart: joined errors into their parts, and those
// that know a place or a way out into a problem with both.
func problemsOf(err error) []report.Problem {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var list []report.Problem
		for _, e := range joined.Unwrap() {
			list = append(list, problemsOf(e)...)
		}
		return list
	}
	p := report.Problem{Message: err.Error()}
	var (
		known   problems
		inv     *inventory.Error
		setting *ansiblecfg.Error
		refused *release.RefusedError
		missing *release.MissingError
		remote  *wire.Error
		carried *bundle.Error
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &inv):
		p.Hint = inv.Hint
	case errors.As(err, &setting):
		p.Hint = setting.Hint
	case errors.As(err, &refused):
		p.Hint = refused.Hint
	case errors.As(err, &missing):
		p.Hint = missing.Hint
	case errors.As(err, &carried):
		p.Hint = carried.Hint
	case errors.As(err, &remote):
		p.Hint = remote.Hint
	}
	return []report.Problem{p}
}
