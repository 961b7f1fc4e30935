package inventory

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// largeSite writes an inventory of 20,000 hosts in 500 groups, each group with
// a file in group_vars, and every tenth host with inline variables.
func largeSite(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "group_vars"), 0o755); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("all:\n  children:\n")
	for region := range 10 {
		fmt.Fprintf(&b, "    region%d:\n      vars: {region: %d}\n      children:\n", region, region)
		for role := range 49 {
			fmt.Fprintf(&b, "        r%dg%d:\n          hosts:\n", region, role)
			for h := range 41 {
				fmt.Fprintf(&b, "            r%d-g%d-h%02d.example.com:", region, role, h)
				if h%10 == 0 {
					fmt.Fprintf(&b, " {ansible_host: 10.%d.%d.%d, rack: %d}", region, role, h, h)
				}
				b.WriteByte('\n')
			}
			writeGroupVars(t, dir, fmt.Sprintf("r%dg%d", region, role))
		}
		writeGroupVars(t, dir, fmt.Sprintf("region%d", region))
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts.yaml"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// iniSite is the same site with its hosts in INI.
func iniSite(t testing.TB) string {
	t.Helper()
	dir := largeSite(t)
	var b strings.Builder
	for region := range 10 {
		fmt.Fprintf(&b, "[region%d:vars]\nregion=%d\n[region%d:children]\n", region, region, region)
		for role := range 49 {
			fmt.Fprintf(&b, "r%dg%d\n", region, role)
		}
		for role := range 49 {
			fmt.Fprintf(&b, "[r%dg%d]\n", region, role)
			for h := range 41 {
				fmt.Fprintf(&b, "r%d-g%d-h%02d.example.com", region, role, h)
				if h%10 == 0 {
					fmt.Fprintf(&b, " ansible_host=10.%d.%d.%d rack=%d", region, role, h, h)
				}
				b.WriteByte('\n')
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts.ini"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeGroupVars(t testing.TB, dir, name string) {
	t.Helper()
	var b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&b, "%s_%d: value %d\n", name, i, i)
	}
	b.WriteString("gofleet_go_version: \"1.26.8\"\ngofleet_preconditions:\n  memory: {min: 2GB}\n  commands: [gcc, make]\n")
	if err := os.WriteFile(filepath.Join(dir, "group_vars", name+".yml"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestLargeSite bounds what the loading of a large site allocates, which a
// busy machine does not change: hosts share what their groups give them. The
// benchmark says how long it takes.
func TestLargeSite(t *testing.T) {
	dir := largeSite(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	inv, err := Load(t.Context(), Options{Sources: []string{"hosts.yaml"}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := inv.Hosts("all", "")
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if len(hosts) != 20090 || len(inv.tree.groups) != 502 {
		t.Fatalf("%d hosts in %d groups", len(hosts), len(inv.tree.groups))
	}
	if n := after.Mallocs - before.Mallocs; n > 1_500_000 {
		t.Errorf("loading made %d allocations", n)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 200<<20 {
		t.Errorf("loading allocated %d MB", n>>20)
	}
	if got := hosts[41].Vars["r0g1_29"]; got != "value 29" {
		t.Errorf("r0g1_29 of %s is %v", hosts[41].Name, got)
	}
}

func BenchmarkLargeSite(b *testing.B) {
	dir := largeSite(b)
	for b.Loop() {
		inv, err := Load(b.Context(), Options{Sources: []string{"hosts.yaml"}, Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := inv.Hosts("all", ""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLargeSiteTemplates evaluates four templates for each of 20,090
// hosts: two of all, and two that lead to other variables.
func BenchmarkLargeSiteTemplates(b *testing.B) {
	dir := largeSite(b)
	vars := "base: /opt\nroot: \"{{ base }}/go\"\ngofleet_root: \"{{ root }}/{{ inventory_hostname_short }}\"\n" +
		"gofleet_keep: \"{{ groups['region1'] | length }}\"\ngofleet_env: {GOPROXY: \"{{ proxy | default('off') }}\", GOFLAGS: \"{{ inventory_hostname | regex_replace('-.*', '') }}\"}\n"
	if err := os.WriteFile(filepath.Join(dir, "group_vars", "all.yml"), []byte(vars), 0o644); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		inv, err := Load(b.Context(), Options{Sources: []string{"hosts.yaml"}, Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		hosts, err := inv.Hosts("all", "")
		if err != nil {
			b.Fatal(err)
		}
		for _, h := range hosts {
			if _, err := h.Evaluate(func(name string) bool { return strings.HasPrefix(name, "gofleet_") }); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkAnsibleInventory prints how many times longer the real tool is at
// work on the same site, in processor time, which a busy machine changes least.
func BenchmarkAnsibleInventory(b *testing.B) {
	tool := os.Getenv("GOFLEET_ANSIBLE_INVENTORY")
	if tool == "" {
		b.Skip("GOFLEET_ANSIBLE_INVENTORY names no ansible-inventory to compare with")
	}
	dir := iniSite(b)
	for _, source := range []string{"hosts.yaml", "hosts.ini"} {
		b.Run(source, func(b *testing.B) { besideAnsible(b, tool, dir, source) })
	}
}

func besideAnsible(b *testing.B, tool, dir, source string) {
	var real, ours time.Duration
	for b.Loop() {
		cmd := exec.Command(tool, "-i", source, "--list", "--output", os.DevNull)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		real += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		before := cpuTime(b)
		inv, err := Load(b.Context(), Options{Sources: []string{source}, Dir: dir})
		if err == nil {
			_, err = inv.ListJSON(ListOptions{})
		}
		if err != nil {
			b.Fatal(err)
		}
		ours += cpuTime(b) - before
	}
	b.ReportMetric(real.Seconds()/float64(b.N), "ansible-cpu-s/op")
	b.ReportMetric(ours.Seconds()/float64(b.N), "gofleet-cpu-s/op")
	b.ReportMetric(real.Seconds()/ours.Seconds(), "ratio")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
