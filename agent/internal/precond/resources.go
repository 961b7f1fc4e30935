package precond

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cpus is the least of what the machine has online, what /proc/cpuinfo shows
// (containers fake it), what this process may run on, and what cgroups allow;
// and what limits it below the machine's own number.
func (h host) cpus(groups cgroups) (n int, limit string) {
	online := countList(h.read("/sys/devices/system/cpu/online"))
	n = least(online, countProcessors(h.read("/proc/cpuinfo")))
	if allowed := h.affinity(); allowed > 0 && (n == 0 || allowed < n) {
		if n > 0 {
			limit = "CPU affinity"
		}
		n = allowed
	}
	for _, l := range groups.cpu {
		if q, ok := h.quota(l); ok && (n == 0 || q < n) {
			n, limit = q, "the CPU quota of cgroup "+l.group
		}
	}
	return n, limit
}

// least is the smaller of two numbers of which 0 is unknown.
func least(a, b int) int {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// affinity is how many CPUs this process may run on; 0 is unknown.
func (h host) affinity() int {
	if h.allowed != nil {
		return h.allowed()
	}
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return 0
	}
	return set.Count()
}

// countList counts the CPUs in a kernel list such as 0-3,8,10-11; 0 for
// something else.
func countList(s string) int {
	n := 0
	for _, part := range strings.Split(strings.TrimSpace(s), ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.Atoi(from)
		b, errB := strconv.Atoi(to)
		if errA != nil || errB != nil || a < 0 || b < a || b > 1<<20 {
			return 0
		}
		n += b - a + 1
	}
	return n
}

// countProcessors counts the processors in /proc/cpuinfo: lines that begin
// "processor" and a number behind it, on s390x before the colon.
func countProcessors(s string) int {
	n := 0
	for _, line := range strings.SplitAfter(s, "\n") {
		rest, ok := strings.CutPrefix(line, "processor")
		rest = strings.TrimLeft(rest, " \t:")
		if ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			n++
		}
	}
	return n
}

// memory is the machine's memory in bytes, or less where a cgroup allows
// less, and then which one; 0 is unknown.
func (h host) memory(groups cgroups) (n int64, limit string) {
	for _, line := range strings.SplitAfter(h.read("/proc/meminfo"), "\n") {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil && kib > 0 && kib < 1<<50 {
				n = kib << 10
			}
			break
		}
	}
	for _, l := range groups.memory {
		if m, ok := h.memoryMax(l); ok && (n == 0 || m < n) {
			n, limit = m, "the memory limit of cgroup "+l.group
		}
	}
	return n, limit
}
