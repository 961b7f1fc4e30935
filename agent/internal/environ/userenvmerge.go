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
	now := userEnvOf(content)
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
	for _, line := range strings.SplitAfter(content, "\n") {
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

// userEnvOf gives the values in a go/env.
func userEnvOf(content string) map[string]string {
	now := map[string]string{}
	for _, line := range strings.SplitAfter(content, "\n") {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
			now[name] = value
		}
	}
	return now
}

// recallUserEnv is noted with what stands in content of what was being done;
// nil if that is nothing.
func recallUserEnv(content string, noted, doing *record.UserEnv) *record.UserEnv {
	now := userEnvOf(content)
	all := &record.UserEnv{User: doing.User, Set: map[string]string{}, Before: map[string]string{}}
	if noted != nil {
		maps.Copy(all.Set, noted.Set)
		maps.Copy(all.Before, noted.Before)
	}
	for name, value := range doing.Set {
		if had, there := now[name]; !there || had != value {
			continue
		}
		all.Set[name] = value
		if before, ok := doing.Before[name]; ok {
			all.Before[name] = before
		}
	}
	if len(all.Set) == 0 {
		return nil
	}
	return all
}

// keep notes a value as ours, with what an earlier run found before it.
func (m *userEnvMerge) keep(noted *record.UserEnv, name, value string) {
	m.set[name] = value
	if before, ok := noted.Before[name]; ok {
		m.before[name] = before
	}
}
