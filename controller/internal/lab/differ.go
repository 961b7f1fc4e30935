//go:build linux

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// differ makes a host differ from the others as its configuration says, in its
// upper directory and by further mounts.
func differ(l *layer, h HostConfig, d hostDirs) ([]mount, error) {
	var mounts []mount
	for _, step := range []func(*layer, HostConfig, hostDirs) ([]mount, error){
		differMusl, // first: it moves what sessions see, and mounts its /proc
		differMemory, differCPUs, differKernel, differCgroup, differDisks, differSFTP,
		differFiles,
	} {
		more, err := step(l, h, d)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, more...)
	}
	return mounts, nil
}

// guest is where the host has what sessions see at path.
func (h HostConfig) guest(path string) string {
	if h.Musl {
		return filepath.Join(muslRoot, path)
	}
	return path
}

func differMemory(_ *layer, h HostConfig, d hostDirs) ([]mount, error) {
	if h.Memory == 0 {
		return nil, nil
	}
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	m, err := d.fileToBind(h.guest("/proc/meminfo"), meminfo(string(b), h.Memory))
	return []mount{m}, err
}

var meminfoRE = regexp.MustCompile(`(?m)^(\w+|\w+\(\w+\)):\s+(\d+) kB$`)

// meminfo is the text of /proc/meminfo for a machine with total bytes, most of
// them free, and no swap; what it does not set is scaled down.
func meminfo(text string, total int64) string {
	kb := total / 1024
	set := map[string]int64{
		"MemTotal": kb, "MemFree": kb / 2, "MemAvailable": kb / 4 * 3, "Buffers": kb / 32, "Cached": kb / 4,
		"SwapCached": 0, "SwapTotal": 0, "SwapFree": 0,
	}
	machine := int64(1)
	if m := meminfoRE.FindStringSubmatch(text); m != nil && m[1] == "MemTotal" {
		machine, _ = strconv.ParseInt(m[2], 10, 64)
	}
	return meminfoRE.ReplaceAllStringFunc(text, func(line string) string {
		m := meminfoRE.FindStringSubmatch(line)
		size, ok := set[m[1]]
		if !ok {
			n, _ := strconv.ParseFloat(m[2], 64)
			size = int64(n * float64(kb) / float64(machine))
		}
		return fmt.Sprintf("%-16s%8d kB", m[1]+":", size)
	})
}

func differCPUs(_ *layer, h HostConfig, d hostDirs) ([]mount, error) {
	if h.CPUs == 0 {
		return nil, nil
	}
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	info, err := d.fileToBind(h.guest("/proc/cpuinfo"), cpuinfo(string(b), h.CPUs))
	if err != nil {
		return nil, err
	}
	// A directory of its own replaces sysfs's, in which CPUs can't be added.
	dir := filepath.Join(d.files, "cpu")
	span := "0"
	if h.CPUs > 1 {
		span = fmt.Sprintf("0-%d", h.CPUs-1)
	}
	for i := range h.CPUs {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf("cpu%d", i)), 0o755); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"online", "possible", "present"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(span+"\n"), 0o644); err != nil {
			return nil, err
		}
	}
	return []mount{info, {Type: "bind", Source: dir, Target: h.guest("/sys/devices/system/cpu"), Flags: unix.MS_RDONLY}}, nil
}

var (
	cpuCountRE = regexp.MustCompile(`(?m)^(siblings|cpu cores)(\s*: )\d+$`)
	cpuIndexRE = regexp.MustCompile(`(?m)^(processor|core id|apicid|initial apicid)(\s*: )\d+$`)
)

// cpuinfo is the text of /proc/cpuinfo with n processors like the first.
func cpuinfo(text string, n int) string {
	first, _, _ := strings.Cut(text, "\n\n")
	first = cpuCountRE.ReplaceAllString(first, fmt.Sprintf("${1}${2}%d", n))
	var b strings.Builder
	for i := range n {
		b.WriteString(cpuIndexRE.ReplaceAllString(first, fmt.Sprintf("${1}${2}%d", i)) + "\n\n")
	}
	return b.String()
}

// differKernel writes the files that speak of the kernel; uname(2) itself is
// answered by pid 1.
func differKernel(_ *layer, h HostConfig, d hostDirs) ([]mount, error) {
	if h.Kernel == "" {
		return nil, nil
	}
	release, err := d.fileToBind(h.guest("/proc/sys/kernel/osrelease"), h.Kernel+"\n")
	if err != nil {
		return nil, err
	}
	version, err := d.fileToBind(h.guest("/proc/version"), fmt.Sprintf("Linux version %s (gofleet-lab) #1 SMP\n", h.Kernel))
	return []mount{release, version}, err
}

func differCgroup(_ *layer, h HostConfig, d hostDirs) ([]mount, error) {
	if len(h.Cgroup) == 0 {
		return nil, nil
	}
	dir := filepath.Join(d.files, "cgroup")
	for name, content := range h.Cgroup {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return []mount{{Type: "bind", Source: dir, Target: h.guest("/sys/fs/cgroup"), Flags: unix.MS_RDONLY}}, nil
}

func differDisks(l *layer, h HostConfig, d hostDirs) ([]mount, error) {
	var mounts []mount
	if h.LocalSize > 0 || h.LocalNodes > 0 {
		data := "mode=755"
		if h.LocalSize > 0 {
			data += fmt.Sprintf(",size=%d", h.LocalSize)
		}
		if h.LocalNodes > 0 {
			data += fmt.Sprintf(",nr_inodes=%d", h.LocalNodes)
		}
		mounts = append(mounts, mount{Type: "tmpfs", Source: "tmpfs", Target: h.guest("/usr/local/lib"), Data: data})
	}
	for _, p := range h.Noexec {
		p, err := l.resolve(h.guest(p))
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, mount{Type: "bind", Source: filepath.Join(d.root, p), Target: p, Flags: unix.MS_NOEXEC | unix.MS_NOSUID | unix.MS_NODEV})
	}
	return mounts, nil
}

// differSFTP lays out the root directory of SFTPChroot: enough for the server
// to run, and none of the host's own paths.
func differSFTP(l *layer, h HostConfig, d hostDirs) ([]mount, error) {
	if h.SFTP != SFTPChroot {
		return nil, nil
	}
	passwd, err := l.read("/etc/passwd")
	if err != nil {
		return nil, err
	}
	if err := l.write(chrootDir+"/etc/passwd", []byte(passwd), 0o644, 0, 0); err != nil {
		return nil, err
	}
	if err := l.directory(chrootDir+"/upload", 0o777, 0, 0); err != nil {
		return nil, err
	}
	var mounts []mount
	for _, dir := range []string{"/usr/lib", "/usr/lib64", "/dev"} {
		if _, info, ok := l.find(dir); !ok || !info.IsDir() {
			continue
		}
		if err := l.directory(chrootDir+dir, 0o755, 0, 0); err != nil {
			return nil, err
		}
		mounts = append(mounts, mount{Type: "bind", Source: filepath.Join(d.root, dir), Target: chrootDir + dir})
		if name, ok := strings.CutPrefix(dir, "/usr/"); ok {
			if err := l.link("usr/"+name, chrootDir+"/"+name); err != nil {
				return nil, err
			}
		}
	}
	return mounts, nil
}

// noise is what a noisy host says before everything: lines that could be taken
// for messages, control characters, and an end without newline.
const noise = "*** Authorised use only ***\n{\"event\":\"hello\",\"protocol\":1}\n\x1b[1mmaintenance tonight\x1b[0m\nlast line, unfinished: "

func differFiles(l *layer, h HostConfig, d hostDirs) ([]mount, error) {
	files := map[string]string{}
	if h.OSRelease != "" {
		files["/etc/os-release"] = h.OSRelease
	}
	if h.Noisy {
		files["/etc/issue.net"] = noise + "\n"
		shout := "printf '%s' '" + noise + "'; echo noise on stderr >&2\n"
		files["/etc/profile.d/00-noise.sh"] = shout
		// Debian's bash reads it for every command that sshd starts.
		rc, err := l.read("/etc/bash.bashrc")
		if err != nil {
			return nil, err
		}
		files["/etc/bash.bashrc"] = shout + rc
	}
	for path, content := range h.Files {
		files[path] = content
	}
	for path, content := range files {
		if err := l.write(h.guest(path), []byte(content), 0o644, 0, 0); err != nil {
			return nil, err
		}
	}
	if h.Glibc != "" {
		if err := relabelGlibc(l, h.Glibc); err != nil {
			return nil, err
		}
	}
	if h.NoPython {
		if err := l.hideAll("/usr/bin/python*", "/usr/local/bin/python*", "/usr/libexec/platform-python"); err != nil {
			return nil, err
		}
	}
	if h.NoSudo {
		if err := l.hideAll("/usr/bin/sudo*"); err != nil {
			return nil, err
		}
	}
	for _, p := range h.Hide {
		if err := l.hide(h.guest(p)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// relabelGlibc gives the host copies of glibc's files that name another
// version: what gnu_get_libc_version, getconf, ldd and the libraries themselves
// print. Symbol versions stay, so that programs still run.
func relabelGlibc(l *layer, version string) error {
	found := 0
	for _, root := range l.below {
		for _, pattern := range []string{
			"usr/lib/*-linux-gnu*/libc.so.6", "usr/lib64/libc.so.6", "usr/lib/*-linux-gnu*/ld-linux*.so.*", "usr/bin/ldd",
		} {
			files, err := filepath.Glob(filepath.Join(root, pattern))
			if err != nil {
				return err
			}
			for _, f := range files {
				content, err := os.ReadFile(f)
				if err != nil {
					return err
				}
				content, err = relabel(content, version)
				if err != nil {
					return fmt.Errorf("%s: %w", f, err)
				}
				if content == nil {
					continue
				}
				rel, err := filepath.Rel(root, f)
				if err != nil {
					return err
				}
				if err := l.write("/"+rel, content, 0o755, 0, 0); err != nil {
					return err
				}
				found++
			}
		}
	}
	if found == 0 {
		return fmt.Errorf("glibc %s: the root filesystem has no glibc", version)
	}
	return nil
}

var glibcRE = regexp.MustCompile(`stable release version (2\.\d+)|ldd \([^)]*\) (2\.\d+)`)

// relabel replaces the version that glibc's file says of itself; nil if it says
// none. Lengths must be equal, for the file is a program.
func relabel(content []byte, version string) ([]byte, error) {
	m := glibcRE.FindSubmatch(content)
	if m == nil {
		return nil, nil
	}
	old := append(m[1], m[2]...)
	if len(old) != len(version) {
		return nil, fmt.Errorf("version %s cannot replace %s: it must be as long", version, old)
	}
	q := regexp.QuoteMeta(string(old))
	// Not the symbol versions: they read GLIBC_2.36.
	re := regexp.MustCompile(`(GLIBC |glibc |version |NPTL |\) |\x00)` + q + `([-.\x00\n'])`)
	for range 2 { // a match may need the byte with which the one before it ended
		content = re.ReplaceAll(content, []byte("${1}"+version+"${2}"))
	}
	return content, nil
}
