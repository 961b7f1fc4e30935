package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// proveWithin is how long a fresh login may take. The host brings its old
// rules back 60 s after it set the timer, before the change.
const proveWithin = 45 * time.Second

// prove logs in to the host afresh, as a firewall's change wants it, and tells
// the agent that waits how that went. The connection there is says nothing:
// firewalls let go on what is established.
func (c *conversation) prove(ctx context.Context, token string) {
	ctx, cancel := context.WithTimeoutCause(ctx, proveWithin, &wire.Error{Kind: wire.KindTimeout, Retryable: true,
		Message: fmt.Sprintf("no login within %s", proveWithin)})
	defer cancel()
	p := wire.Proof{Token: token}
	if err := c.confirm(ctx, token); err != nil {
		p.Error = wire.AsError(err, wire.KindUnreachable)
	}
	c.proved <- p // has room for the one there is
}

// confirm is one more connection, made as the first one was.
func (c *conversation) confirm(ctx context.Context, token string) error {
	conn, err := c.host.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Reading has no context: closing the connection ends it.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	agent, err := conn.StartAgent(ctx, c.host.Spec)
	if err != nil {
		return err
	}
	if err := wire.NewWriter(agent.In).Write(wire.Command{Task: &wire.Task{
		Run: c.Run, Host: c.host.Name, Controller: c.Controller, Action: wire.Confirm, Token: token, Gofleet: c.Gofleet, Now: c.Now().UTC(),
	}}); err != nil {
		return agent.Explain(err)
	}
	for {
		var e wire.Event
		if err := agent.Out.Read(&e); err != nil {
			return agent.Explain(err)
		}
		switch {
		case e.Report == nil:
		case e.Report.Error != nil:
			return e.Report.Error
		case e.Report.Status != wire.OK:
			return errors.New("the host did not confirm the login")
		default:
			return nil
		}
	}
}
