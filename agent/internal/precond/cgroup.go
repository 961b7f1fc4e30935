package precond

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// limitFile is one file of a cgroup that may hold a limit.
type limitFile struct {
	dir   string // on the host
	group string // as people know it: /user.slice
	v2    bool
}

// cgroups has, for each controller, the directories from the agent's own
// cgroup up to the top that this mount namespace shows.
type cgroups struct {
	cpu, memory []limitFile
}

// cgroupMount is one cgroup filesystem.
type cgroupMount struct {
	root, point string // the cgroup that is mounted, and where
	controllers []string
	v2          bool
}

func (h host) cgroups() cgroups {
	mounts := parseMounts(h.read("/proc/self/mountinfo"))
	var out cgroups
	for _, line := range strings.SplitAfter(h.read("/proc/self/cgroup"), "\n") {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, c := range strings.Split(parts[1], ",") {
			for _, m := range mounts {
				v2 := parts[0] == "0" && c == ""
				if m.v2 != v2 || !v2 && !slices.Contains(m.controllers, c) {
					continue
				}
				way := wayUp(m, parts[2])
				if v2 || c == "cpu" {
					out.cpu = append(out.cpu, way...)
				}
				if v2 || c == "memory" {
					out.memory = append(out.memory, way...)
				}
			}
		}
	}
	return out
}

// wayUp lists the directories of a cgroup and all above it. A path outside
// the mounted part (a container without a cgroup namespace) leaves the top.
func wayUp(m cgroupMount, group string) []limitFile {
	below := path.Clean("/" + group)
	if root := path.Clean(m.root); root != "/" {
		if below != root && !strings.HasPrefix(below, root+"/") {
			below = root
		}
		below = "/" + strings.TrimPrefix(strings.TrimPrefix(below, root), "/")
	}
	var out []limitFile
	for ; ; below = path.Dir(below) {
		out = append(out, limitFile{dir: path.Join(m.point, below), group: printable(path.Join(m.root, below), 200), v2: m.v2})
		if below == "/" || len(out) > 64 {
			return out
		}
	}
}

// parseMounts finds the cgroup filesystems in a mountinfo.
func parseMounts(s string) []cgroupMount {
	var out []cgroupMount
	for _, line := range strings.SplitAfter(s, "\n") {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		m := cgroupMount{root: unescape(l[3]), point: unescape(l[4])}
		switch r[0] {
		case "cgroup2":
			m.v2 = true
		case "cgroup":
			m.controllers = strings.Split(r[2], ",")
		default:
			continue
		}
		out = append(out, m)
	}
	return out
}

// unescape undoes the \040 of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// quota is the CPUs that a cgroup allows, rounded up as Go and Java do, and
// false where it sets no limit.
func (h host) quota(l limitFile) (int, bool) {
	var quota, period string
	if l.v2 {
		f := strings.Fields(h.read(l.dir + "/cpu.max"))
		if len(f) != 2 {
			return 0, false
		}
		quota, period = f[0], f[1]
	} else {
		quota = strings.TrimSpace(h.read(l.dir + "/cpu.cfs_quota_us"))
		period = strings.TrimSpace(h.read(l.dir + "/cpu.cfs_period_us"))
	}
	q, errQ := strconv.ParseInt(quota, 10, 64) // "max" and -1 are no limit
	p, errP := strconv.ParseInt(period, 10, 64)
	if errQ != nil || errP != nil || q <= 0 || p <= 0 {
		return 0, false
	}
	return int((q-1)/p + 1), true
}

// memoryMax is the memory that a cgroup allows, and false where it sets no
// limit. Version 1 writes "no limit" as a number near the largest.
func (h host) memoryMax(l limitFile) (int64, bool) {
	name := "/memory.limit_in_bytes"
	if l.v2 {
		name = "/memory.max"
	}
	n, err := strconv.ParseInt(strings.TrimSpace(h.read(l.dir+name)), 10, 64)
	if err != nil || n < 0 || n >= 1<<60 {
		return 0, false
	}
	return n, true
}
