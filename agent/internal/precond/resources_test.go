package precond

import (
	"maps"
	"testing"
)

// machine is a host with four CPUs and 8 GB, and no limits.
var machine = map[string]string{
	"sys/devices/system/cpu/online": "0-3\n",
	"proc/cpuinfo":                  "processor\t: 0\nmodel name : x\n\nprocessor\t: 1\n\nprocessor\t: 2\n\nprocessor\t: 3\n",
	"proc/meminfo":                  "MemTotal:        8000000 kB\nMemFree: 1 kB\n",
}

const (
	v2mount = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	v1mount = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n" +
		"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"33 31 0:30 / /sys/fs/cgroup/memory\\040x rw shared:9 - cgroup cgroup rw,memory\n"
	docker = "33 31 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
)

func TestResources(t *testing.T) {
	for name, tt := range map[string]struct {
		files       map[string]string
		allowed     int
		cpus        int
		cpuLimit    string
		memory      int64
		memoryLimit string
	}{
		"no limits":                          {nil, 0, 4, "", 8000000 << 10, ""},
		"affinity":                           {nil, 2, 2, "CPU affinity", 8000000 << 10, ""},
		"affinity to all":                    {nil, 4, 4, "", 8000000 << 10, ""},
		"cpuinfo shows fewer, as lxcfs does": {map[string]string{"proc/cpuinfo": "processor\t: 0\n"}, 4, 1, "", 8000000 << 10, ""},
		"s390x":                              {map[string]string{"proc/cpuinfo": "# processors    : 2\nprocessor 0: version = FF\nprocessor 1: version = FF\n"}, 0, 2, "", 8000000 << 10, ""},
		"cpuinfo without any":                {map[string]string{"proc/cpuinfo": "cpu model : x\n"}, 0, 4, "", 8000000 << 10, ""},
		"offline CPUs":                       {map[string]string{"sys/devices/system/cpu/online": "0,2-3"}, 0, 3, "", 8000000 << 10, ""},
		"bad list":                           {map[string]string{"sys/devices/system/cpu/online": "0-x"}, 0, 4, "", 8000000 << 10, ""},
		"v2, own group": {map[string]string{
			"proc/self/mountinfo": v2mount, "proc/self/cgroup": "0::/user.slice/session-1.scope\n",
			"sys/fs/cgroup/user.slice/session-1.scope/cpu.max":    "150000 100000\n",
			"sys/fs/cgroup/user.slice/session-1.scope/memory.max": "1000000000\n",
		}, 0, 2, "the CPU quota of cgroup /user.slice/session-1.scope", 1e9, "the memory limit of cgroup /user.slice/session-1.scope"},
		"v2, group above is tighter": {map[string]string{
			"proc/self/mountinfo": v2mount, "proc/self/cgroup": "0::/user.slice/session-1.scope\n",
			"sys/fs/cgroup/user.slice/session-1.scope/cpu.max":    "max 100000\n",
			"sys/fs/cgroup/user.slice/session-1.scope/memory.max": "5000000000\n",
			"sys/fs/cgroup/user.slice/cpu.max":                    "50000 100000\n",
			"sys/fs/cgroup/user.slice/memory.max":                 "3000000000\n",
		}, 0, 1, "the CPU quota of cgroup /user.slice", 3e9, "the memory limit of cgroup /user.slice"},
		"v2, inside a container": {map[string]string{
			"proc/self/mountinfo": v2mount, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/cpu.max": "300000 100000\n", "sys/fs/cgroup/memory.max": "max\n",
		}, 0, 3, "the CPU quota of cgroup /", 8000000 << 10, ""},
		"v2, more than the machine has": {map[string]string{
			"proc/self/mountinfo": v2mount, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/cpu.max": "900000 100000\n", "sys/fs/cgroup/memory.max": "99000000000\n",
		}, 0, 4, "", 8000000 << 10, ""},
		"v2, from outside of the namespace": {map[string]string{
			"proc/self/mountinfo": v2mount, "proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/memory.max": "2000000000\n",
		}, 0, 4, "", 2e9, "the memory limit of cgroup /"},
		"v1": {map[string]string{
			"proc/self/mountinfo": v1mount, "proc/self/cgroup": "9:cpu,cpuacct:/a/b\n4:memory:/a\n1:name=systemd:/\n0::/\n",
			"sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/memory x/a/memory.limit_in_bytes": "4000000000\n",
			"sys/fs/cgroup/memory x/memory.limit_in_bytes":   "9223372036854771712\n",
		}, 0, 2, "the CPU quota of cgroup /a", 4e9, "the memory limit of cgroup /a"},
		"v1, docker without a cgroup namespace": {map[string]string{
			"proc/self/mountinfo": docker, "proc/self/cgroup": "4:memory:/docker/abc/sub\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1500000000\n",
		}, 0, 4, "", 1.5e9, "the memory limit of cgroup /docker/abc"},
		"v1, moved out of the mounted part": {map[string]string{
			"proc/self/mountinfo": docker, "proc/self/cgroup": "4:memory:/docker/abcdef\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1500000000\n",
		}, 0, 4, "", 1.5e9, "the memory limit of cgroup /docker/abc"},
		"nonsense": {map[string]string{
			"proc/self/mountinfo": "x\n - \na b c d e - cgroup2\n" + v2mount, "proc/self/cgroup": "x\n0::\n",
			"sys/fs/cgroup/cpu.max": "0 0\n", "sys/fs/cgroup/memory.max": "-5\n", "proc/meminfo": "MemTotal: many kB\n",
		}, 0, 4, "", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(machine)
			maps.Copy(files, tt.files)
			h := fake(t, files)
			h.allowed = func() int { return tt.allowed }
			groups := h.cgroups()
			if n, limit := h.cpus(groups); n != tt.cpus || limit != tt.cpuLimit {
				t.Errorf("%d CPUs by %q; want %d by %q", n, limit, tt.cpus, tt.cpuLimit)
			}
			if n, limit := h.memory(groups); n != tt.memory || limit != tt.memoryLimit {
				t.Errorf("%d bytes by %q; want %d by %q", n, limit, tt.memory, tt.memoryLimit)
			}
		})
	}
}
