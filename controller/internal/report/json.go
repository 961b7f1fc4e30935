package report

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

// The documents of -o json and -o jsonl, as docs/schemas/ describes them.
// Every key is always there; arrays and objects are never null, error may be.

// document is a whole run: gofleet.<command>/v1.
type document struct {
	Schema      string             `json:"schema"`
	Command     wire.Action        `json:"command"`
	Run         string             `json:"run"`
	Check       bool               `json:"check"`
	Interrupted bool               `json:"interrupted"`
	Stopped     *stopDocument      `json:"stopped"`
	Batches     []batchDocument    `json:"batches"`
	Seeds       []seedDocument     `json:"seeds"`
	Hosts       []hostDocument     `json:"hosts"`
	Summary     map[string]int     `json:"summary"`
	Seconds     map[string]float64 `json:"seconds"`
}

// hostLine is a line of jsonl: gofleet.<command>.host/v1.
type hostLine struct {
	Schema string `json:"schema"`
	Run    string `json:"run"`
	hostDocument
}

// summaryLine is the last line of jsonl: gofleet.<command>.summary/v1.
type summaryLine struct {
	Schema      string             `json:"schema"`
	Command     wire.Action        `json:"command"`
	Run         string             `json:"run"`
	Check       bool               `json:"check"`
	Interrupted bool               `json:"interrupted"`
	Stopped     *stopDocument      `json:"stopped"`
	Batches     []batchDocument    `json:"batches"`
	Seeds       []seedDocument     `json:"seeds"`
	Summary     map[string]int     `json:"summary"`
	Seconds     map[string]float64 `json:"seconds"`
}

// stopDocument is why no further host was begun.
type stopDocument struct {
	Batch   int    `json:"batch"` // after which; 0 is before the first
	Message string `json:"message"`
}

type batchDocument struct {
	Batch   int     `json:"batch"`
	Hosts   int     `json:"hosts"`
	Gated   bool    `json:"gated"` // there were gates, and all let the run go on
	Seconds float64 `json:"seconds"`
}

// seedDocument is what a seed did.
type seedDocument struct {
	Host  string `json:"host"`
	Sent  int64  `json:"sent"`
	Gave  int64  `json:"gave"`
	Hosts int    `json:"hosts"`
	Lost  string `json:"lost"`
}

func seedsOf(o *fleet.Outcome) []seedDocument {
	list := []seedDocument{}
	for _, s := range o.Seeds {
		list = append(list, seedDocument{block(s.Seed), s.Sent, s.Gave, s.Hosts, block(s.Lost)})
	}
	return list
}

func stopOf(o *fleet.Outcome) *stopDocument {
	if o.Stopped == nil {
		return nil
	}
	return &stopDocument{Batch: o.Stopped.Batch, Message: block(strings.TrimSuffix(o.Stopped.Message+"\n"+o.Stopped.Detail, "\n"))}
}

func batchesOf(o *fleet.Outcome) []batchDocument {
	list := []batchDocument{}
	for _, b := range o.Batches {
		list = append(list, batchDocument{b.Number, b.Hosts, b.Gated, math.Round(b.Seconds*1000) / 1000})
	}
	return list
}

type hostDocument struct {
	Host     string             `json:"host"`
	Platform string             `json:"platform"`
	Status   wire.Status        `json:"status"`
	Changed  bool               `json:"changed"`
	Go       wire.GoChange      `json:"go"`
	Checks   []checkDocument    `json:"checks"`
	Actions  []actionDocument   `json:"actions"`
	Drift    []string           `json:"drift"`
	Differs  []wire.Drift       `json:"differs"`
	Warnings []string           `json:"warnings"`
	Error    *errorDocument     `json:"error"`
	Seconds  map[string]float64 `json:"seconds"`
}

type checkDocument struct {
	Name   string           `json:"name"`
	Status wire.CheckStatus `json:"status"`
	Actual string           `json:"actual"`
	Wanted string           `json:"wanted"`
	Hint   string           `json:"hint"`
}

type actionDocument struct {
	Name    string `json:"name"`
	Changed bool   `json:"changed"`
	Diff    string `json:"diff"`
}

type errorDocument struct {
	Kind      wire.Kind `json:"kind"`
	Message   string    `json:"message"`
	Hint      string    `json:"hint"`
	Retryable bool      `json:"retryable"`
}

func hostDocumentOf(res fleet.Result) hostDocument {
	d := hostDocument{
		Host: block(res.Host), Platform: block(res.Platform), Status: res.Status, Changed: res.Changed,
		Go:       wire.GoChange{Before: block(res.Go.Before), After: block(res.Go.After)},
		Checks:   []checkDocument{},
		Actions:  []actionDocument{},
		Drift:    blocks(wire.Paths(res.Drift)),
		Differs:  []wire.Drift{},
		Warnings: blocks(res.Warnings),
		Seconds:  secondsOf(res.Seconds),
	}
	for _, p := range res.Drift {
		d.Differs = append(d.Differs, wire.Drift{Path: block(p.Path), How: block(p.How)})
	}
	for _, c := range res.Checks {
		d.Checks = append(d.Checks, checkDocument{block(c.Name), c.Status, block(c.Actual), block(c.Wanted), block(c.Hint)})
	}
	for _, a := range res.Actions {
		d.Actions = append(d.Actions, actionDocument{block(a.Name), a.Changed, block(a.Diff)})
	}
	if e := res.Error; e != nil {
		d.Error = &errorDocument{e.Kind, block(e.Message), block(e.Hint), e.Retryable}
	}
	return d
}

func blocks(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = block(s)
	}
	return out
}

// secondsOf rounds to milliseconds. There is a total always: the sum where
// none was measured.
func secondsOf(in map[string]float64) map[string]float64 {
	out := make(map[string]float64, len(in)+1)
	sum := 0.0
	for phase, s := range in {
		if math.IsNaN(s) || math.IsInf(s, 0) || s < 0 {
			continue // no JSON, and no time
		}
		out[block(phase)] = math.Round(s*1000) / 1000
		sum += s
	}
	if _, ok := out["total"]; !ok {
		out["total"] = math.Round(sum*1000) / 1000
	}
	return out
}

// summaryOf counts every status, those without hosts too.
func summaryOf(o *fleet.Outcome) map[string]int {
	out := map[string]int{}
	for _, s := range statuses {
		out[string(s)] = o.Count(s)
	}
	return out
}

// encode makes JSON that ends with a line feed.
func encode(v any, indent string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		panic(err) // strings, numbers and booleans only
	}
	return b.String()
}

// jsonPrinter prints one document at the end.
type jsonPrinter Reporter

func (p *jsonPrinter) done(fleet.Result) {}

func (p *jsonPrinter) all(o *fleet.Outcome) {
	d := document{
		Schema: "gofleet." + string(o.Command) + "/v1", Command: o.Command, Run: o.Run, Check: o.Check,
		Interrupted: o.Interrupted, Stopped: stopOf(o), Batches: batchesOf(o), Seeds: seedsOf(o), Hosts: []hostDocument{}, Summary: summaryOf(o),
		Seconds: secondsOf(map[string]float64{"total": o.Seconds}),
	}
	for _, res := range o.Results {
		d.Hosts = append(d.Hosts, hostDocumentOf(res))
	}
	p.screen.print(p.Stdout, encode(d, "  "))
}

// linesPrinter prints a line as each host ends, and one for the summary.
type linesPrinter Reporter

func (p *linesPrinter) done(res fleet.Result) {
	p.screen.print(p.Stdout, encode(hostLine{
		Schema: "gofleet." + string(p.Command) + ".host/v1", Run: p.Run, hostDocument: hostDocumentOf(res),
	}, ""))
}

func (p *linesPrinter) all(o *fleet.Outcome) {
	p.screen.print(p.Stdout, encode(summaryLine{
		Schema: "gofleet." + string(o.Command) + ".summary/v1", Command: o.Command, Run: o.Run, Check: o.Check,
		Interrupted: o.Interrupted, Stopped: stopOf(o), Batches: batchesOf(o), Seeds: seedsOf(o), Summary: summaryOf(o), Seconds: secondsOf(map[string]float64{"total": o.Seconds}),
	}, ""))
}
