// Package gate asks on the controller whether a rollout may go on: a command
// that has to succeed, or an address that has to answer. It knows nothing of
// hosts but their names.
package gate

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Gate is one such question. The zero Timeout is none.
type Gate struct {
	Timeout time.Duration // of one try
	Retries int           // further tries after the first
	Wait    time.Duration // between two tries

	command string   // for the shell; empty where url is set
	url     *url.URL // answered with 2xx
}

// Batch is what a gate is told.
type Batch struct {
	Run       string
	Number    int // from 1
	Of        int
	HostsFile string // the batch's hosts, one a line
}

// Parse reads a command line for the shell, or an http or https address.
func Parse(text string) (Gate, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Gate{}, errors.New("a gate is a command, or an http or https address")
	}
	lower := strings.ToLower(text)
	if !strings.HasPrefix(lower, "http://") && !strings.HasPrefix(lower, "https://") {
		return Gate{command: text}, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return Gate{}, fmt.Errorf("gate: %w", err)
	case u.Host == "":
		return Gate{}, fmt.Errorf("gate %q has no host", text)
	case u.User != nil:
		return Gate{}, errors.New("a gate's address holds no password, which the journal and reports would show; use a command that reads it from a file")
	}
	return Gate{url: u}, nil
}

// String is the command or the address.
func (g Gate) String() string {
	if g.url != nil {
		return g.url.String()
	}
	return g.command
}

// Ask asks until the answer is yes, or no try is left. The error has the last
// answer with the end of what was said.
func (g Gate) Ask(ctx context.Context, b Batch) error {
	for try := 0; ; try++ {
		err := g.once(ctx, b)
		if err == nil || try >= g.Retries || ctx.Err() != nil {
			return err
		}
		t := time.NewTimer(g.Wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

func (g Gate) once(ctx context.Context, b Batch) error {
	if g.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, g.Timeout, fmt.Errorf("no answer within %s (--gate-timeout)", g.Timeout))
		defer cancel()
	}
	var err error
	if g.url != nil {
		err = g.get(ctx)
	} else {
		err = g.run(ctx, b)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("%s: %w", g, err)
	}
	return nil
}
