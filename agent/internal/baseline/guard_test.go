package baseline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/wire"
)

// fakeTool has one file, and notes that it was loaded.
type fakeTool struct{ dir string }

func (fakeTool) name() string      { return "fake" }
func (f fakeTool) place() string   { return filepath.Join(f.dir, "rules") }
func (f fakeTool) files() []string { return []string{f.place()} }
func (fakeTool) closed() string    { return "deny" }
func (f fakeTool) restore() string { return "cp " + f.place() + " " + f.dir + "/loaded\n" }
func (fakeTool) enable() []string  { return nil }

func (fakeTool) agrees(context.Context) error { return nil }

func (f fakeTool) change(context.Context, *ruleset, firewallChange) error {
	return os.WriteFile(f.place(), []byte("new"), 0o640)
}
func (fakeTool) differs(context.Context, *ruleset) (string, error) { return "", nil }

func (f fakeTool) is(t *testing.T, rules, loaded string) {
	t.Helper()
	got, _ := os.ReadFile(f.place())
	force, _ := os.ReadFile(filepath.Join(f.dir, "loaded"))
	if string(got) != rules || string(force) != loaded {
		t.Errorf("rules are %q, %q was loaded; want %q and %q", got, force, rules, loaded)
	}
}

// TestGuard: only what a login has confirmed stays, whoever ends.
func TestGuard(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: what is saved lies in /run")
	}
	ctx := context.Background()
	begin := func(t *testing.T, prove Prove) (fakeTool, *guard, bool, error) {
		tool := fakeTool{t.TempDir()}
		if err := os.WriteFile(tool.place(), []byte("old"), 0o640); err != nil {
			t.Fatal(err)
		}
		have := &ruleset{tool: tool, active: true}
		g, err := newGuard(have, &record.Firewall{Tool: "fake"})
		if err != nil {
			t.Fatal(err)
		}
		later, err := g.change(ctx, prove, func(ctx context.Context) error { return tool.change(ctx, have, firewallChange{}) })
		return tool, g, later, err
	}
	gone := func(t *testing.T, g *guard) {
		t.Helper()
		if _, err := os.Stat(g.dir); err == nil {
			t.Errorf("%s is left", g.dir)
		}
	}
	after := func(context.Context, string) (bool, error) { return true, nil }

	t.Run("proved", func(t *testing.T) {
		tool, g, later, err := begin(t, func(ctx context.Context, token string) (bool, error) {
			next, err := ConfirmFirewall(ctx, token)
			if next == nil || next.Tool != "fake" {
				t.Errorf("the record is to say %+v", next)
			}
			return false, err
		})
		if err != nil || later {
			t.Fatal(later, err)
		}
		tool.is(t, "new", "")
		gone(t, g)
		if err := g.undo(ctx); err != nil {
			t.Fatal(err)
		}
		tool.is(t, "old", "old")
		gone(t, g)
	})
	t.Run("proved, and nobody told", func(t *testing.T) {
		tool, g, _, err := begin(t, func(ctx context.Context, token string) (bool, error) {
			_, err := ConfirmFirewall(ctx, token)
			return false, errors.Join(err, errors.New("the connection broke"))
		})
		if err != nil {
			t.Fatal(err)
		}
		tool.is(t, "new", "")
		gone(t, g)
	})
	for name, err := range map[string]error{"locked out": errors.New("no answer"), "nobody came": nil} {
		t.Run(name, func(t *testing.T) {
			tool, g, _, err := begin(t, func(context.Context, string) (bool, error) { return false, err })
			if err == nil || wire.AsError(err, "").Kind != wire.KindLockout || !strings.Contains(err.Error(), "old ones are back") {
				t.Fatal(err)
			}
			tool.is(t, "old", "old")
			gone(t, g)
			if _, err := ConfirmFirewall(ctx, g.token); wire.AsError(err, "").Kind != wire.KindLockout {
				t.Errorf("confirmed too late: %v", err)
			}
		})
	}
	t.Run("proved later", func(t *testing.T) {
		tool, g, later, err := begin(t, after)
		if err != nil || !later {
			t.Fatal(later, err)
		}
		tool.is(t, "old", "") // a boot would bring it back
		if _, err := ConfirmFirewall(ctx, g.token); err != nil {
			t.Fatal(err)
		}
		tool.is(t, "new", "")
		if err := ForgetFirewallChange(g.token); err != nil {
			t.Fatal(err)
		}
		gone(t, g)
	})
	t.Run("cut", func(t *testing.T) {
		tool, g, _, err := begin(t, after)
		if err != nil {
			t.Fatal(err)
		}
		if err := sweepGuards(ctx); err != nil {
			t.Fatal(err)
		}
		tool.is(t, "old", "old")
		gone(t, g)
	})
	t.Run("not within reach of a token", func(t *testing.T) {
		for _, token := range []string{"", "../x", strings.Repeat("g", 32)} {
			if _, err := ConfirmFirewall(ctx, token); err == nil {
				t.Errorf("%q was confirmed", token)
			}
		}
	})
}
