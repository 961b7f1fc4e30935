package serve

import (
	"context"
	"errors"
	"os"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/baseline"
	"github.com/gofleet/gofleet/agent/internal/netrc"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/policy"
	"github.com/gofleet/gofleet/agent/wire"
)

// roomForProxy is what a go command needs that asks for one module.
const roomForProxy = 16 << 20

// judgeProxy adds the check module_proxy to the report, made with the
// toolchain in dir, "" for none. Where a host is only looked at, and settings
// are still to be written that the check needs, trouble is a warning.
func (j *job) judgeProxy(ctx context.Context, dir string) error {
	s := &j.task.Spec
	if s.Preconditions.ModuleProxy == nil || j.state == nil {
		return nil
	}
	j.phaseBegins("module proxy")
	c := wire.Check{Name: "module_proxy", Status: wire.Warn, Wanted: "the servers of GOPROXY answer",
		Actual: "not judged: the deploy user is not there", Hint: "it is judged when Go is installed"}
	v := &toolchain.Verification{Store: j.store, Version: j.state.Before, Platform: j.platform}
	var err error
	if s.User != nil && os.Getuid() == 0 {
		v.As, err = account.Lookup(ctx, s.User.Name)
	}
	switch {
	case err == nil:
		c = v.ProbeProxy(ctx, workplace(j.report.Facts.DiskPath, roomForProxy), dir, s)
	case !errors.Is(err, account.ErrNotFound):
		return err
	}
	if c.Status == wire.Fail && j.changes.Checking() && j.unsettled(ctx) {
		c.Status = wire.Warn
		c.Hint = "it is judged again when gofleet_netrc and gofleet_ca_certificates are on the host; now: " + c.Hint
	}
	j.report.Checks = append(j.report.Checks, c)
	return ctx.Err()
}

// requireProxy is judgeProxy for a host that is changed: it has all settings,
// and trouble takes them back.
func (j *job) requireProxy(ctx context.Context, dir string) error {
	if err := j.judgeProxy(ctx, dir); err != nil || policy.Met(j.report.Checks) {
		return err
	}
	return wire.NewError(wire.KindUnmet, unmet(j.report.Checks), "the check says what to do; what this run had changed was taken back")
}

// unsettled says whether credentials or authorities are still to be written.
func (j *job) unsettled(ctx context.Context) bool {
	rec, err := record.Parse(j.begun, record.Path(j.store.Root)) // planning notes things in it
	if err != nil {
		return false
	}
	trust, _, err1 := baseline.Plan(ctx, baseline.BeforeGo, &j.task.Spec, rec)
	login, _, err2 := netrc.Plan(ctx, &j.task.Spec, rec)
	return err1 == nil && err2 == nil && len(trust)+len(login) > 0
}
