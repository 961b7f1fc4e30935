//go:build linux

package ansible

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// opens counts how many programs open a file or directory until the function
// that it gives is called.
func (w *world) opens(path string) func() int {
	w.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC)
	if err == nil {
		err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN|unix.FAN_ONDIR, unix.AT_FDCWD, path)
	}
	if err != nil {
		w.Fatal(err)
	}
	return func() (n int) {
		defer unix.Close(fd)
		for {
			var e unix.FanotifyEventMetadata
			event := (*[unsafe.Sizeof(e)]byte)(unsafe.Pointer(&e))[:]
			if got, err := unix.Read(fd, event); err != nil || got != len(event) {
				return n
			}
			unix.Close(int(e.Fd))
			n++
		}
	}
}

// settle waits until a file is so old that what is known of it may be kept.
func (w *world) settle(path string) {
	w.Helper()
	st, err := os.Stat(path)
	if err != nil {
		w.Fatal(err)
	}
	time.Sleep(time.Until(st.ModTime().Add(2500 * time.Millisecond)))
}

func (w *world) archivePath(version string) string {
	return filepath.Join(w.archives, "go"+version+".linux-"+runtime.GOARCH+".tar.gz")
}

// TestOnce: the archive is read once to be judged, whatever the number of
// forks and plays, and once for each host that lacks it.
func TestOnce(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}, {}, {}, {}}, func(w *world) {
		archive := w.archivePath("1.26.8")
		w.settle(archive)
		w.install(w.options("1.26.8"), nil, true, "-l", "h1")
		play := w.play("gofleet.golang.toolchain", w.options("1.26.8"), nil)
		run := func(want, changed int, args ...string) {
			w.Helper()
			opens := w.opens(archive)
			events, out := w.playbook(play, nil, append(args, "-f", "4")...)
			n := 0
			for _, e := range events {
				if e.Result.Changed {
					n++
				}
			}
			if got := opens(); got != want || n != changed || len(events) != 4 {
				w.Errorf("with %q the archive was opened %d times, want %d; %d hosts of %d changed, want %d:\n%s", args, got, want, n, len(events), changed, out)
			}
		}
		run(0, 3, "--check") // judged in the first play already
		run(3, 3)
		run(0, 0)
		w.exec("h2", "rm", "-rf", "/usr/local/lib/gofleet/go1.26.8", "/usr/local/lib/gofleet/manifests/go1.26.8")
		run(1, 1)

		// A file that was touched is read again, once, and not believed for its name.
		fresh := must(os.ReadFile(archive))
		if err := os.WriteFile(archive, append(slices.Clone(fresh), 0), 0o644); err != nil {
			w.Fatal(err)
		}
		w.exec("h1", "rm", "-rf", "/usr/local/lib/gofleet/go1.26.8", "/usr/local/lib/gofleet/manifests/go1.26.8")
		w.refused(w.options("1.26.8"), nil, "but the file has sha256", "-l", "h1")
	})
}

// inner is an http server on the inner network.
type inner struct {
	*httptest.Server
	mu   sync.Mutex
	gets map[string]int
}

func newInner(t *testing.T, directory string) *inner {
	s := &inner{gets: map[string]int{}}
	files := http.FileServer(http.Dir(directory))
	s.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.gets[filepath.Base(r.URL.Path)]++
		s.mu.Unlock()
		files.ServeHTTP(rw, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *inner) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets[name]
}

// TestHTTP: archives on the inner network are fetched by the controller, once.
func TestHTTP(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}, {}}, func(w *world) {
		served := newInner(w.T, w.dir)
		options := func(version string) dict {
			return merge(w.options(version), dict{"archives": served.URL + "/archives/"})
		}
		name := filepath.Base(w.archivePath("1.26.8"))
		play := w.play("gofleet.golang.toolchain", options("1.26.8"), nil)
		for _, changed := range []bool{true, false} {
			events, out := w.playbook(play, nil)
			for _, e := range events {
				if e.Outcome != "ok" || e.Result.Changed != changed {
					w.Fatalf("%s: changed=%v, want %v\n%s", e.Host, e.Result.Changed, changed, out)
				}
			}
		}
		if n := served.count(name); n != 1 {
			w.Errorf("the archive was fetched %d times", n)
		}
		w.refused(merge(options("1.26.8"), dict{"go_version": "1.26.6"}), nil,
			"no archive of go1.26.6 for linux/"+runtime.GOARCH+" in "+served.URL, "-l", "h1")

		// A bad download is not believed, and is not in the way of a good one.
		good := must(os.ReadFile(w.archivePath("1.26.7")))
		if err := os.WriteFile(w.archivePath("1.26.7"), good[:len(good)/2], 0o644); err != nil {
			w.Fatal(err)
		}
		w.refused(options("1.26.7"), nil, "but the file has sha256", "-l", "h1")
		if err := os.WriteFile(w.archivePath("1.26.7"), good, 0o644); err != nil {
			w.Fatal(err)
		}
		w.install(options("1.26.7"), nil, true, "-l", "h1")
		served.Close()
		w.install(options("1.26.7"), nil, true, "-l", "h2") // it is in the cache
		w.refused(merge(options("1.26.8"), dict{"go_version": "1.26.5"}), nil, "fetch "+served.URL+"/archives/go1.26.5", "-l", "h1")
	})
}

// TestExamples runs what the plugins' documentation shows.
func TestExamples(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		w.exec("h1", "install", "-d", "-o", "plain", "-g", "plain", "/home/ci")
		before, _, _ := strings.Cut(string(must(os.ReadFile(filepath.Join(repository, "controller/internal/release/go-releases.sha256")))), "  go1.26.8.linux-amd64.tar.gz\n")
		official := before[strings.LastIndex(before, "\n")+1:]
		vars := w.vars("1.26.8")
		vars["gofleet_preconditions"] = dict{"noexec": nil}
		w.install(w.options("1.26.7"), nil, true)
		for _, module := range []string{"toolchain", "toolchain_info"} {
			out, err := w.command("ansible-doc", "-j", "gofleet.golang."+module)
			if err != nil {
				w.Fatalf("%v\n%s", err, out)
			}
			var docs map[string]struct{ Examples string }
			if err := json.Unmarshal(out, &docs); err != nil {
				w.Fatal(err)
			}
			text := docs["gofleet.golang."+module].Examples
			if strings.Count(text, "- name: ") < 2 {
				w.Fatalf("%s has no examples:\n%s", module, text)
			}
			// What stands for the reader's own.
			for old, now := range map[string]string{
				"/srv/go-archives": w.archives, "../archives": w.archives, "[gcc, git]": "[sh]", "{min: 4GB}": "{min: 64MB}",
				"linux-amd64: " + official:     "linux-" + runtime.GOARCH + ": " + w.pins["1.26.8"],
				"\n    root: /home/ci/gofleet": "\n    root: /home/plain/gofleet\n    sha256: {linux-" + runtime.GOARCH + ": " + w.pins["1.26.8"] + "}\n  vars: {ansible_user: plain}",
			} {
				text = strings.ReplaceAll(text, old, now)
			}
			text = strings.Replace(text, "    archives: "+w.archives+"\n  become: true", "    archives: "+w.archives+
				"\n    sha256: {linux-"+runtime.GOARCH+": "+w.pins["1.26.8"]+"}\n  become: true", 1)
			play := "- hosts: all\n  gather_facts: false\n  handlers: [{name: Rebuild, ansible.builtin.debug: {}}]\n  tasks:\n    " +
				strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
			events, shown := w.playbook(w.write("examples.yml", play), vars)
			if len(events) < strings.Count(text, "- name: ") {
				w.Errorf("%s: %d results:\n%s", module, len(events), shown)
			}
			for _, e := range events {
				if e.Outcome != "ok" {
					w.Errorf("%s: %s: %s: %s", module, e.Task, e.Outcome, e.Result.text())
				}
			}
			if module == "toolchain_info" {
				continue
			}
			if got := w.exec("h1", "/home/plain/gofleet/go/bin/go", "version"); !strings.Contains(got, "go1.26.8") {
				w.Errorf("the ordinary user has %q", got)
			}
		}
	})
}

// indented gives the first indented block behind a line of a page.
func indented(page, line string) string {
	_, rest, _ := strings.Cut(page, "\n"+line+"\n\n")
	var b strings.Builder
	for l := range strings.Lines(rest) {
		if !strings.HasPrefix(l, "    ") && strings.TrimSpace(l) != "" {
			break
		}
		b.WriteString(strings.TrimPrefix(l, "    "))
	}
	return b.String()
}

// TestMoving runs the two playbooks of docs/ansible.md, the old one and the
// one that takes its place, on the same host.
func TestMoving(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		page := string(must(os.ReadFile(filepath.Join(repository, "docs/ansible.md"))))
		if err := os.Symlink(w.archives, filepath.Join(w.dir, "files")); err != nil {
			w.Fatal(err)
		}
		play := func(name, line string) string {
			text := indented(page, line)
			if !strings.Contains(text, "- hosts: build\n") {
				w.Fatalf("docs/ansible.md has no playbook behind %q", line)
			}
			text = strings.Replace(text, "- hosts: build\n", "- hosts: all\n", 1)
			return w.write(name+".yml", strings.ReplaceAll(text, "linux-amd64", "linux-"+runtime.GOARCH))
		}
		before, after := play("before", "Before, as such roles do it:"), play("after", "After:")
		run := func(file string, vars dict, changed bool, args ...string) string {
			w.Helper()
			events, out := w.playbook(file, vars, args...)
			did := false
			for _, e := range events {
				if e.Outcome != "ok" && e.Outcome != "skipped" {
					w.Fatalf("%s: %s\n%s", e.Task, e.Outcome, out)
				}
				did = did || e.Result.Changed
			}
			if did != changed {
				w.Errorf("changed=%v, want %v:\n%s", did, changed, out)
			}
			return out
		}
		run(before, nil, true)
		vars := dict{"gofleet_archives": w.archives, "gofleet_sha256": w.vars("1.26.8")["gofleet_sha256"]}
		out := run(after, vars, true, "--check", "--diff")
		if !strings.Contains(out, "-directory, which is kept in /usr/local/lib/gofleet\n+link to lib/gofleet/go1.26.8") {
			w.Errorf("the diff does not tell what becomes of /usr/local/go:\n%s", out)
		}
		run(after, vars, true)
		run(after, vars, false)
		if got := w.goVersion("h1"); !strings.Contains(got, "go1.26.8") {
			w.Errorf("go version says %q", got)
		}
		if got := w.exec("h1", "sh", "-c", "wc -l </home/deploy/.ssh/authorized_keys; ls -d /usr/local/lib/gofleet/go.unmanaged-*"); !strings.HasPrefix(got, "1\n/usr/local/lib/gofleet/go.unmanaged-") {
			w.Errorf("the key and the old toolchain: %q", got)
		}
		w.install(dict{"state": "rolled_back"}, nil, true)
	})
}
