package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

// phases in the order in which hosts go through them. Agents may name others;
// those stand behind.
var phases = [...]string{
	"connect", "agent", "check", "lock", "wait", "gather", "receive", "upload", "extract",
	"packages", "system", "account", "settings", "modules", "gopath",
	"install", "verify", "switch", "environment", "module proxy", "services", "prove",
}

// troubles is how many of the last bad ends the view shows.
const troubles = 3

// view is what the terminal shows during a run: a line for the whole, one for
// all uploads, and one for each host at work; where these don't fit, one for
// each phase.
func (r *Reporter) view(now time.Time, cols, rows int) []row {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.model
	var top []row
	if len(m.order) > 0 && (m.finished < len(m.order) || m.stage.Name != journal.StageMain) {
		top = append(top, r.headline(now))
	}
	for _, p := range m.bars {
		top = append(top, p.row(now, cols))
	}
	if total, ok := m.allUploads(now, cols); ok {
		top = append(top, total)
	}
	bottom := m.troubleRows()
	if room := rows - len(top) - len(bottom); room < 3 {
		bottom = nil
	}
	room := rows - len(top) - len(bottom)
	middle := m.hostRows(now, cols)
	if len(middle) > room {
		middle = m.phaseRows(cols)
	}
	if len(middle) > room {
		middle = middle[:max(room, 0)]
	}
	out := slices.Concat(top, middle, bottom)
	return out[:min(len(out), rows)]
}

// headline is the line for the whole run.
func (r *Reporter) headline(now time.Time) row {
	m := r.model
	title := string(r.Command)
	if r.Check {
		title += " --check"
	}
	line := row{{title, bold}, {fmt.Sprintf("  %d/%d hosts", m.finished, len(m.order)), plain}}
	if at := r.stageNow(now); at != "" {
		line = append(line, span{"  " + at, cyan})
	}
	for _, s := range statuses {
		if n := m.counts[s]; n > 0 {
			line = append(line, span{"  ", plain}, span{fmt.Sprintf("%d %s", n, label(s, r.would())), styleOf(s)})
		}
	}
	waiting := 0
	for _, h := range m.order {
		if h.phase == "" && !h.ended {
			waiting++
		}
	}
	if waiting > 0 {
		line = append(line, span{fmt.Sprintf("  %d to come", waiting), dim})
	}
	if m.budget != "" {
		line = append(line, span{"  " + m.budget, dim})
	}
	return append(line, span{"  " + clock(now.Sub(m.started)), dim})
}

// stageNow is what the run is at, for the headline. r.mu is held.
func (r *Reporter) stageNow(now time.Time) string {
	s, through := r.model.stage, r.model.staged
	at := ""
	switch s.Name {
	case journal.StageAudit:
		return fmt.Sprintf("audit beforehand %d/%d", through, s.Hosts)
	case journal.StageGate:
		at = fmt.Sprintf("gate %d/%d", through, s.Hosts)
	case fleet.StageProbe:
		at = "gate " + oneLine(shorten(s.Gate, 40))
	case fleet.StagePause:
		at = "pause"
		if left := s.Until.Sub(now); left > 0 {
			at += " " + clock(left) + " left"
		}
	case journal.StageRollback:
		at = fmt.Sprintf("taking back %s", count(s.Hosts, "host"))
	}
	if s.Of <= 1 {
		return at
	}
	return join(": ", fmt.Sprintf("batch %d/%d", s.Batch, s.Of), at)
}

// allUploads is the line for all uploads, where there is more than one.
func (m *model) allUploads(now time.Time, cols int) (row, bool) {
	var done, total int64
	known, running := 0, 0
	for _, h := range m.order {
		if h.total > 0 {
			known++
			done += h.done
			total += h.total
		}
		if h.uploading() {
			running++
		}
	}
	if running == 0 || known < 2 {
		return nil, false
	}
	label := fmt.Sprintf("  %s  ", count(running, "upload"))
	return row{{label, bold},
		{gauge(done, total, m.uploads.rate(now), m.uploads.left(now, total-done), cols-columns(label)), plain}}, true
}

// hostRows has a line for each host at work.
func (m *model) hostRows(now time.Time, cols int) []row {
	var active []*hostState
	name, phase := 0, 0
	for _, h := range m.order {
		if h.active() {
			active = append(active, h)
			name = max(name, columns(oneLine(h.name)))
			phase = max(phase, columns(h.phase))
		}
	}
	name, phase = min(name, max(cols/3, 8)), min(phase, max(cols/4, 8))
	rows := make([]row, len(active))
	for i, h := range active {
		detail := span{h.note, yellow}
		switch {
		case h.uploading():
			detail = span{gauge(h.done, h.total, h.meter.rate(now), h.meter.left(now, h.total-h.done), cols-name-phase-6), plain}
		case h.note == "" && now.Sub(h.since) >= time.Second:
			detail = span{clock(now.Sub(h.since)), dim}
		}
		rows[i] = row{{"  " + pad(cut(oneLine(h.name), name), name), plain},
			{"  " + pad(cut(h.phase, phase), phase) + "  ", cyan}, detail}
	}
	return rows
}

// phaseRows has a line for each phase that hosts are in.
func (m *model) phaseRows(cols int) []row {
	in := map[string][]string{}
	var names []string
	for _, h := range m.order {
		if h.active() {
			if in[h.phase] == nil {
				names = append(names, h.phase)
			}
			in[h.phase] = append(in[h.phase], oneLine(h.name))
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return place(a) - place(b) })
	width := 0
	for _, n := range names {
		width = max(width, columns(n))
	}
	width = min(width, max(cols/4, 8))
	rows := make([]row, len(names))
	for i, n := range names {
		rows[i] = row{{"  " + pad(cut(n, width), width), cyan},
			{fmt.Sprintf("  %4d  ", len(in[n])), bold}, {Fold(in[n]), plain}}
	}
	return rows
}

// place is where a phase stands in the course of things.
func place(phase string) int {
	if i := slices.Index(phases[:], phase); i >= 0 {
		return i
	}
	return len(phases)
}

// troubleRows are the last hosts that ended badly.
func (m *model) troubleRows() []row {
	var rows []row
	for _, t := range m.trouble[max(0, len(m.trouble)-troubles):] {
		rows = append(rows, row{{"  " + string(t.status), styleOf(t.status)},
			{"  " + oneLine(t.host) + ": " + t.why, plain}})
	}
	return rows
}

// gaugeText is how wide a gauge without its bar may become.
const gaugeText = 43

// gauge shows how far something is, in room columns: a bar where there is
// room, the share, bytes, rate and the time left.
func gauge(done, total int64, perSecond float64, left time.Duration, room int) string {
	if total <= 0 {
		return join("  ", size(done), rate(perSecond))
	}
	done = min(max(done, 0), total)
	share := fmt.Sprintf("%3d%%", done*100/total)
	var rest string
	if left > 0 {
		rest = clock(left) + " left"
	}
	return join("  ", bar(done, total, min(room-gaugeText, 30)), share, sizeOf(done, total), rate(perSecond), rest)
}

// bar is [====>     ] in n columns, or nothing where these are too few.
func bar(done, total int64, n int) string {
	inner := n - 2
	if inner < 6 {
		return ""
	}
	full := int(float64(done) / float64(total) * float64(inner))
	if full >= inner {
		return "[" + strings.Repeat("=", inner) + "]"
	}
	return "[" + strings.Repeat("=", full) + ">" + strings.Repeat(" ", inner-full-1) + "]"
}

// join joins what is not empty.
func join(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), sep)
}

// versions shows what happened to the current toolchain.
func versions(g wire.GoChange) string {
	before, after := goName(g.Before), goName(g.After)
	switch {
	case before == after:
		return after
	case g.Before == "":
		return after + " (new)"
	}
	return before + " → " + after
}

func goName(version string) string {
	if version == "" {
		return "no Go"
	}
	return "go" + oneLine(version)
}
