package serve

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/gofleet/gofleet/agent/internal/baseline"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/wire"
)

// login does what a connection was made for that confirms a firewall's change
// or takes it back. Any other has no result yet.
func (o *order) login(ctx context.Context) *moduleResult {
	var err error
	switch {
	case o.control.Confirm != "":
		err = o.confirmLater(ctx)
	case o.control.Restore != "":
		err = baseline.RestoreFirewall(o.control.Restore)
	default:
		return nil
	}
	if err != nil {
		return refusal(err)
	}
	return &moduleResult{Status: wire.OK}
}

// confirmLater confirms the change of a run that has ended, and writes down
// what that run could not.
func (o *order) confirmLater(ctx context.Context) (err error) {
	layout, err := toolchain.NewLayout(o.spec.Root, o.spec.Link, os.Getuid())
	if err != nil {
		return err
	}
	store := &toolchain.Store{Layout: layout}
	me := toolchain.Holder{PID: os.Getpid(), Run: o.control.Run, Controller: o.control.Controller, Since: time.Now()}
	lock, err := store.Lock(ctx, me, patience, func(toolchain.Holder) {})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	rec, err := record.Load(store.Root)
	if err != nil {
		return err
	}
	if rec.Firewall, err = baseline.ConfirmFirewall(ctx, o.control.Confirm); err != nil {
		return err
	}
	if _, statErr := os.Stat(store.Root); statErr == nil { // all that was ours may be gone
		err = rec.Save(store.Root)
	}
	return errors.Join(err, baseline.ForgetFirewallChange(o.control.Confirm))
}
