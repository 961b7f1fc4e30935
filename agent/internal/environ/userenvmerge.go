package environ

import (
	"maps"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/record"
)

// userEnvMerge is what becomes of a go/env.
type userEnvMerge struct {
	content     string
	set, before map[string]string // for the record
	drift       bool              // a value that was ours, and is wanted, had changed
}

// mergeUserEnv makes every name of want have its value, and gives the names of
// noted that are no longer wanted the value that they had before. Other lines
// stay as they are. Unlike in go.env, the last of two equal names wins.
func mergeUserEnv(content string, noted *record.UserEnv, want map[string]string) userEnvMerge {
	if noted == nil {
		noted = &record.UserEnv{}
	}
	m := userEnvMerge{set: map[string]string{}, before: map[string]string{}}
	now := map[string]string{}
	for line := range strings.Lines(content) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
			now[name] = value
		}
	}
	write := map[string]string{} // lines to be written anew
	gone := map[string]bool{}    // lines to be left out
	for name, value := range want {
		had, there := now[name]
		set, ours := noted.Set[name]
		if there && had == value {
			if ours {
				m.keep(noted, name, value)
			}
			continue
		}
		m.drift = m.drift || ours && set == value
		gone[name], write[name] = true, value
		m.keep(noted, name, value)
		if !ours && there {
			m.before[name] = had
		}
	}
	for name, set := range noted.Set {
		if _, wanted := want[name]; wanted || now[name] != set {
			continue
		}
		gone[name] = true
		if before, ok := noted.Before[name]; ok {
			write[name] = before
		}
	}
	var b strings.Builder
	for line := range strings.Lines(content) {
		if name, _, ok := strings.Cut(line, "="); !ok || !gone[name] {
			b.WriteString(line)
		}
	}
	if s := b.String(); s != "" && !strings.HasSuffix(s, "\n") && len(write) > 0 {
		b.WriteByte('\n')
	}
	for _, name := range slices.Sorted(maps.Keys(write)) {
		b.WriteString(name + "=" + write[name] + "\n")
	}
	m.content = b.String()
	return m
}

// keep notes a value as ours, with what an earlier run found before it.
func (m *userEnvMerge) keep(noted *record.UserEnv, name, value string) {
	m.set[name] = value
	if before, ok := noted.Before[name]; ok {
		m.before[name] = before
	}
}
