package baseline

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Checks looks at what the baseline of s is about and that no step can bring
// about: whether the clock is synchronised and, with listening, who listens.
// Nothing here fails a host, and an image is not asked.
func Checks(ctx context.Context, s *spec.Spec, listening bool) []wire.Check {
	if s.Image {
		return nil
	}
	var checks []wire.Check
	if s.Time.Synchronised() {
		checks = append(checks, checkTime(ctx, s.Time))
	}
	if listening && (s.Services != nil || s.Firewall != nil) {
		checks = append(checks, checkListening("/proc"))
	}
	return checks
}

// checkTime asks the daemon whether the clock is synchronised, and how far off.
func checkTime(ctx context.Context, want *spec.Time) wire.Check {
	c := wire.Check{Name: "time", Status: wire.Warn, Wanted: "synchronised"}
	if want.MaxOffset > 0 {
		c.Wanted = "synchronised to " + want.MaxOffset.String()
	}
	d, err := (&planner{want: &spec.Spec{}}).daemon()
	if err != nil {
		c.Actual, c.Hint = "no one daemon", hostcmd.Printable(err.Error(), 200)
		return c
	}
	state, offset, err := d.asks(ctx)
	if err != nil {
		c.Actual, c.Hint = d.name+" does not answer", hostcmd.Printable(err.Error(), 200)
		return c
	}
	c.Actual = fmt.Sprintf("%s: %s", d.name, state)
	if offset != "" {
		c.Actual += ", off by " + offset
	}
	off, err := time.ParseDuration(offset)
	switch {
	case state != synchronised:
		c.Hint = "a daemon takes some seconds after its start; after that, see whether the servers of gofleet_time answer on UDP port 123"
	case want.MaxOffset > 0 && err != nil:
		c.Hint = d.name + " does not say how far off the clock is"
	case want.MaxOffset > 0 && off.Abs() > want.MaxOffset:
		c.Hint = "the daemon brings the clock nearer slowly; to step it at once, restart " + d.name
	default:
		c.Status = wire.Pass
	}
	return c
}

// What daemons are said to be.
const (
	synchronised   = "synchronised"
	unsynchronised = "not synchronised"
)

func said(synced bool) string {
	if synced {
		return synchronised
	}
	return unsynchronised
}

// ask runs a program of the host's.
func ask(ctx context.Context, program string, args ...string) (string, error) {
	path := hostcmd.Find(program)
	if path == "" {
		return "", fmt.Errorf("this host has no %s", program)
	}
	out, err := hostcmd.Run(ctx, "", path, args...)
	return string(out), err
}

func askChrony(ctx context.Context) (string, string, error) {
	out, err := ask(ctx, "chronyc", "-n", "-c", "tracking")
	if err != nil {
		return "", "", err
	}
	return chronySays(out)
}

// chronySays reads "chronyc -c tracking": the fifth field is the offset in
// seconds, the last the leap status.
func chronySays(out string) (string, string, error) {
	f := strings.Split(strings.TrimSpace(out), ",")
	if len(f) < 14 {
		return "", "", fmt.Errorf("chronyc says %q", hostcmd.Printable(out, 80))
	}
	leap := f[len(f)-1]
	return said(leap == "Normal" || leap == "Insert second" || leap == "Delete second"), seconds(f[4], time.Second), nil
}

// timesyncdSynced is there once systemd-timesyncd has set the clock.
const timesyncdSynced = "/run/systemd/timesync/synchronized"

func askTimesyncd(ctx context.Context) (string, string, error) {
	if _, err := os.Stat(timesyncdSynced); err != nil {
		return unsynchronised, "", nil
	}
	out, err := ask(ctx, "timedatectl", "timesync-status")
	if err != nil {
		return "", "", err
	}
	return synchronised, timesyncdOffset(out), nil
}

// timesyncdOffset finds "Offset: -1.234ms"; "" where it is not said.
func timesyncdOffset(out string) string {
	for _, line := range strings.SplitAfter(out, "\n") {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "Offset: "); ok {
			// As "+1min 2.5s".
			d, err := time.ParseDuration(strings.NewReplacer("min", "m", " ", "").Replace(value))
			if err == nil {
				return d.String()
			}
		}
	}
	return ""
}

func askNTPD(ctx context.Context) (string, string, error) {
	out, err := ask(ctx, "ntpq", "-n", "-c", "rv 0 leap,offset")
	if err != nil {
		return "", "", err
	}
	return ntpdSays(out)
}

// ntpdSays reads "leap=00, offset=-0.123", which is in milliseconds.
func ntpdSays(out string) (string, string, error) {
	var leap, offset string
	for _, part := range strings.FieldsFunc(out, func(r rune) bool { return r == ',' || r == '\n' || r == ' ' }) {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "leap", "leap_indicator":
			leap = value
		case "offset":
			offset = seconds(value, time.Millisecond)
		}
	}
	if leap == "" {
		return "", "", fmt.Errorf("ntpq says %q", hostcmd.Printable(out, 80))
	}
	return said(leap != "11" && leap != "3"), offset, nil
}

// seconds is a number of units as a duration to the microsecond.
func seconds(text string, unit time.Duration) string {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f > 1e9 || f < -1e9 {
		return ""
	}
	return time.Duration(f * float64(unit)).Round(time.Microsecond).String()
}
