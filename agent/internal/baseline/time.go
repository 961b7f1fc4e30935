package baseline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/wire"
)

// Where a host has its zone and those that it knows.
const (
	localtime = "/etc/localtime"
	zoneText  = "/etc/timezone" // of Debian up to bookworm, which reads it beside
	zoneinfo  = "/usr/share/zoneinfo"
)

// clock plans gofleet_time: the zone, and the servers of the daemon that is
// there.
func clock(_ context.Context, p *planner) error {
	if p.want.Time == nil && p.rec.Time == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		return wire.NewError(wire.KindNeedsRoot, errors.New("the host's clock needs root"), "run with -b, or drop gofleet_time")
	}
	if p.rec.Time == nil {
		p.rec.Time = &record.Time{}
	}
	if err := p.zone(); err != nil {
		return err
	}
	if err := p.servers(); err != nil {
		return err
	}
	p.settleTime()
	return nil
}

// settleTime forgets a note that says nothing any more.
func (p *planner) settleTime() {
	if t := p.rec.Time; t != nil && t.Zone == nil && t.Servers == "" && t.Restart == "" {
		p.rec.Time = nil
	}
}

// zone plans the link /etc/localtime, and /etc/timezone where there is one.
func (p *planner) zone() error {
	var want string
	if p.want.Time != nil {
		want = p.want.Time.Zone
	}
	noted := p.rec.Time.Zone
	if want == "" && noted == nil {
		return nil
	}
	link, err := hostfile.Look(p.path(localtime))
	if err != nil {
		return err
	}
	text, err := hostfile.Look(p.path(zoneText))
	if err != nil {
		return err
	}
	if link.Type == hostfile.Other {
		return refused(fmt.Errorf("%s is neither a link nor a file", localtime), "move it away and apply again")
	}
	if want == "" {
		return p.zoneBack(noted, link, text)
	}
	if err := p.knowsZone(want); err != nil {
		return err
	}
	now := noted
	if now == nil {
		now = &record.Zone{Link: link.Target, File: link.Content, Text: text.Content}
		p.rec.Time.Zone = now
	}
	newLink := hostfile.State{Type: hostfile.Link, Target: filepath.Join(zoneinfo, want)}
	newText := text
	if text.Type == hostfile.File && strings.TrimSpace(string(text.Content)) != want {
		newText.Content = []byte(want + "\n")
	}
	if isZone(link, want) && bytes.Equal(newText.Content, text.Content) {
		now.Name = want
		return nil
	}
	p.steps = append(p.steps, p.zoneStep("set the time zone to "+want, now.Name == want, link, text, newLink, newText, func() {
		now.Name = want
		p.rec.Time.Zone = now
	}))
	return nil
}

// zoneBack gives a host the zone that it had before, unless somebody has given
// it another since.
func (p *planner) zoneBack(noted *record.Zone, link, text hostfile.State) error {
	forget := func() {
		p.rec.Time.Zone = nil
		p.settleTime()
	}
	newLink := hostfile.State{Type: hostfile.Link, Target: noted.Link}
	switch {
	case noted.Link != "":
	case len(noted.File) > 0:
		newLink = hostfile.State{Type: hostfile.File, Mode: 0o644, Content: noted.File}
	default:
		newLink = hostfile.State{}
	}
	same := newLink.Type == link.Type && newLink.Target == link.Target && bytes.Equal(newLink.Content, link.Content)
	if same || !isZone(link, noted.Name) {
		p.rec.Time.Zone = nil
		return nil
	}
	newText := text
	if text.Type == hostfile.File && len(noted.Text) > 0 {
		newText.Content = noted.Text
	}
	p.steps = append(p.steps, p.zoneStep("put the time zone back", false, link, text, newLink, newText, forget))
	return nil
}

func (p *planner) zoneStep(name string, drift bool, link, text, newLink, newText hostfile.State, made func()) change.Step {
	before := p.rec.Time.Zone
	if before != nil {
		c := *before
		before = &c
	}
	return change.Step{
		Name: name, Path: localtime, Drift: drift,
		Diff: hostfile.LinkDiff(localtime, link.Target, newLink.Target) + hostfile.Diff(zoneText, string(text.Content), string(newText.Content)),
		Do: func(context.Context) error {
			if !bytes.Equal(text.Content, newText.Content) {
				if err := newText.PutBack(p.path(zoneText)); err != nil {
					return err
				}
			}
			if err := newLink.PutBack(p.path(localtime)); err != nil {
				return err
			}
			made()
			return nil
		},
		Undo: func() error {
			if p.rec.Time != nil {
				p.rec.Time.Zone = before
			}
			return errors.Join(link.PutBack(p.path(localtime)), text.PutBack(p.path(zoneText)))
		},
	}
}

// isZone tells whether /etc/localtime leads to a zone, however it says so.
func isZone(link hostfile.State, zone string) bool {
	target := link.Target
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(localtime), target)
	}
	return link.Type == hostfile.Link && zone != "" && filepath.Clean(target) == filepath.Join(zoneinfo, zone)
}

// knowsZone refuses a zone that the host's zoneinfo does not have.
func (p *planner) knowsZone(zone string) error {
	if fi, err := os.Stat(p.path(zoneinfo)); err != nil || !fi.IsDir() {
		return refused(fmt.Errorf("this host has no time zones in %s", zoneinfo), "install the package tzdata, or drop zone")
	}
	unknown := refused(fmt.Errorf("zone: %s is not among the time zones of this host in %s", zone, zoneinfo),
		"write a name such as Asia/Shanghai or UTC; newer names need a newer tzdata")
	f, err := os.Open(p.path(filepath.Join(zoneinfo, zone)))
	if err != nil {
		return unknown
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); err != nil || string(magic) != "TZif" {
		return unknown
	}
	return nil
}

// servers plans the one file with the servers, and that the daemon reads it.
func (p *planner) servers() error {
	t := p.rec.Time
	var names []string
	if p.want.Time != nil {
		names = p.want.Time.Servers
	}
	if len(names) == 0 && t.Servers == "" && t.Restart == "" {
		return nil
	}
	before := len(p.steps)
	var place serversPlace
	daemon := findDaemon(t.Daemon)
	if len(names) > 0 {
		var err error
		if daemon, err = p.daemon(); err != nil {
			return err
		}
		if place, err = daemon.place(p); err != nil {
			return err
		}
		if !p.want.Image && !p.canRestart() {
			return refused(fmt.Errorf("this host runs neither systemd nor OpenRC, by which %s is restarted", daemon.name), "drop servers from gofleet_time")
		}
	}
	if t.Servers != "" && t.Servers != place.path {
		steps, err := serversPlace{path: t.Servers, block: t.Block}.plan(p.rec, "")
		if err != nil {
			return err
		}
		p.steps = append(p.steps, steps...)
		if len(steps) == 0 {
			t.Servers = ""
		} else {
			t.Restart = t.Daemon
		}
	}
	if len(names) > 0 {
		steps, err := place.plan(p.rec, daemon.text(names))
		if err != nil {
			return err
		}
		p.steps = append(p.steps, steps...)
		t.Servers, t.Block, t.Daemon = place.path, place.block, daemon.name
		if len(steps) > 0 {
			t.Restart = daemon.name
		}
	}
	if changed := p.steps[before:]; len(changed) > 0 && daemon != nil && p.canRestart() {
		// Undone last: only then is the file what it was.
		undo := changed[0].Undo
		changed[0].Undo = func() error { return errors.Join(undo(), daemon.restart(context.Background(), p)) }
	}
	p.restart(len(names) == 0)
	return nil
}

// restart adds the step that makes a daemon read its servers, noted until it is
// done: a run may be cut between the two. With last, nothing is kept of it. In
// an image there is nothing to restart.
func (p *planner) restart(last bool) {
	t := p.rec.Time
	daemon := findDaemon(t.Restart)
	done := func() {
		t.Restart = ""
		if last {
			t.Servers, t.Block, t.Daemon = "", false, ""
		}
		p.settleTime()
	}
	if daemon == nil || !p.canRestart() || !daemon.installed(p) && last {
		done()
		return
	}
	p.steps = append(p.steps, change.Step{
		Name: "restart " + daemon.name, Diff: "it reads its servers anew\n",
		Do: func(ctx context.Context) error {
			if err := daemon.restart(ctx, p); err != nil {
				return err
			}
			done()
			return nil
		},
	})
}

// serversPlace is where servers are written: a file, or a block in one.
type serversPlace struct {
	path  string
	block bool
}

// plan writes text, or with none takes it away.
func (s serversPlace) plan(rec *record.Record, text string) ([]change.Step, error) {
	switch {
	case s.block:
		return hostfile.Block{Path: s.path, Name: "time servers", Text: text, Mode: 0o644, Kind: wire.KindBaseline}.Plan(rec)
	case text == "":
		return hostfile.PlanRemove(s.path, rec, wire.KindBaseline)
	}
	content := "# Written by gofleet; the next apply undoes changes.\n" + text
	return hostfile.Managed{Path: s.path, Content: []byte(content), Mode: 0o644, Kind: wire.KindBaseline}.Plan(rec)
}

// sweepTime removes temporary files that a run which was cut left.
func sweepTime() error {
	var errs []error
	for _, dir := range serverDirs {
		errs = append(errs, durable.Sweep(dir))
	}
	return errors.Join(errs...)
}
