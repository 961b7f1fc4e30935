package serve

import (
	"context"
	"errors"

	"github.com/gofleet/gofleet/agent/internal/baseline"
	"github.com/gofleet/gofleet/agent/wire"
)

// baselineRun is what planning the baseline takes from the job.
func (j *job) baselineRun() baseline.Run {
	return baseline.Run{Deep: j.task.Deep, Prove: j.prove}
}

// errLater is what whoever plays the controller answers to Event.Prove where
// the login can be made only once this process has ended.
var errLater = errors.New("the login is made later")

// prove has the controller log in afresh and tell how that went.
func (j *job) prove(ctx context.Context, token string) (later bool, err error) {
	j.phaseBegins("prove")
	err = j.out.Write(wire.Event{Prove: token})
	if errors.Is(err, errLater) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	j.options.fault("unproved")
	for {
		select {
		case p := <-j.proof:
			if p.Token != token {
				continue
			}
			if p.Error != nil {
				return false, p.Error
			}
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// confirm is the task of the fresh login. The run that waits for it has the
// lock and keeps the record.
func confirm(ctx context.Context, token string) *wire.Report {
	if _, err := baseline.ConfirmFirewall(ctx, token); err != nil {
		return &wire.Report{Status: wire.Failed, Error: wire.AsError(err, wire.KindHost)}
	}
	return &wire.Report{Status: wire.OK}
}
