package toolchain

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// process is one that uses a toolchain.
type process struct {
	pid     int
	program string
}

// usersOf gives the processes that use something under dir: as their program
// or working directory, mapped, or open. An ordinary user sees their own only.
func usersOf(dir string) []process {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var users []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != os.Getpid() && uses(filepath.Join("/proc", e.Name()), dir) {
			users = append(users, process{pid, programOf(pid)})
		}
	}
	sort.SliceStable(users, func(i, j int) bool { return users[i].pid < users[j].pid })
	return users
}

// uses reports whether the process uses something under dir. What ends while
// it is looked at uses nothing, and neither does what calls by the same path
// another directory, as in a container.
func uses(proc, dir string) bool {
	return names(proc, dir) && sees(proc, dir)
}

// sees reports whether dir is to the process what it is here.
func sees(proc, dir string) bool {
	there, err := os.Stat(filepath.Join(proc, "root", dir))
	if err != nil {
		return false
	}
	here, err := os.Stat(dir)
	return err == nil && os.SameFile(there, here)
}

// names reports whether something that the process has is called as what is
// under dir.
func names(proc, dir string) bool {
	for _, link := range []string{"exe", "cwd"} {
		if leadsUnder(filepath.Join(proc, link), dir) {
			return true
		}
	}
	fds, _ := os.ReadDir(filepath.Join(proc, "fd"))
	for _, fd := range fds {
		if leadsUnder(filepath.Join(proc, "fd", fd.Name()), dir) {
			return true
		}
	}
	return mapped(filepath.Join(proc, "maps"), dir)
}

func leadsUnder(link, dir string) bool {
	to, err := os.Readlink(link)
	return err == nil && (to == dir || strings.HasPrefix(to, dir+"/"))
}

// mapped reports whether a process has a file under dir mapped.
func mapped(path, dir string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	lines := bufio.NewScanner(f) // of at most a path and some numbers
	under := []byte(" " + dir + "/")
	for lines.Scan() {
		if bytes.Contains(lines.Bytes(), under) {
			return true
		}
	}
	return false
}

// programOf is the name of a process's program, for a message.
func programOf(pid int) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil { // a kernel thread, or it has just ended
		return ""
	}
	return printable(filepath.Base(strings.TrimSuffix(exe, " (deleted)")), 40)
}

func processes(users []process) string {
	const most = 5
	var names []string
	for _, u := range users[:min(len(users), most)] {
		name := strconv.Itoa(u.pid)
		if u.program != "" {
			name += " (" + u.program + ")"
		}
		names = append(names, name)
	}
	s := "process " + strings.Join(names, ", ")
	if len(users) > most {
		s += fmt.Sprintf(" and %d more", len(users)-most)
	}
	return s
}
