//go:build linux

package ansible

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/lab"
	"github.com/gofleet/gofleet/controller/internal/minisign"
)

// moduleBundle makes a bundle with versions of a private module, and gives its
// path.
func (w *world) moduleBundle(name string, key *minisign.SecretKey, versions ...string) string {
	w.Helper()
	path := filepath.Join(w.dir, name)
	b, err := bundle.NewFileWriter(path, "0.1.0", 0)
	if err != nil {
		w.Fatal(err)
	}
	defer b.Close()
	add := func(name string, content []byte) {
		if _, err := b.Add(w.Context(), bundle.BytesSource("modules/cache/download/corp.example/lib/@v/"+name, 0o644, content)); err != nil {
			w.Fatal(err)
		}
	}
	add("list", []byte(strings.Join(versions, "\n")+"\n"))
	for _, v := range versions {
		var file bytes.Buffer
		z := zip.NewWriter(&file)
		for name, content := range map[string]string{"go.mod": "module corp.example/lib\n", "lib.go": "package lib\n\nconst Version = \"" + v + "\"\n"} {
			if _, err := must(z.Create("corp.example/lib@" + v + "/" + name)).Write([]byte(content)); err != nil {
				w.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			w.Fatal(err)
		}
		add(v+".info", fmt.Appendf(nil, `{"Version":%q}`, v))
		add(v+".mod", []byte("module corp.example/lib\n"))
		add(v+".zip", file.Bytes())
	}
	if err := b.Finish(key); err != nil {
		w.Fatal(err)
	}
	return path
}

// TestModulesAndSources: modules out of a bundle and sources for a GOPATH come
// through the role as they come through gofleet; each finds in order what the
// other has brought, and only what a host lacks travels.
func TestModulesAndSources(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}, {SFTP: lab.SFTPOff}}, func(w *world) {
		key := must(minisign.Generate(rand.Reader))
		w.write("site.pub", string(key.Public().File()))
		one, two := w.moduleBundle("one.bundle", &key, "v1.0.0"), w.moduleBundle("two.bundle", &key, "v1.0.0", "v1.1.0")
		if err := os.MkdirAll(filepath.Join(w.dir, "legacy/corp.example/app"), 0o755); err != nil {
			w.Fatal(err)
		}
		w.write("legacy/corp.example/app/main.go", "package main\n\nfunc main() {}\n")
		vars := func(version, from string) map[string]any {
			v := w.vars(version)
			maps.Copy(v, dict{
				"gofleet_user": dict{"name": "deploy"}, "gofleet_trusted_keys": []string{filepath.Join(w.dir, "site.pub")},
				"gofleet_modules": dict{"from": from, "private": []string{"corp.example"}},
				"gofleet_gopath":  dict{"sources": filepath.Join(w.dir, "legacy")},
			})
			return v
		}
		play := w.plays(nil, dict{"roles": []string{"gofleet.golang.toolchain"}, "become": true})
		role := func(vars map[string]any, changed bool, args ...string) result {
			w.Helper()
			events, out := w.playbook(play, vars, args...)
			var last result
			for _, e := range events {
				last = e.Result
				if strings.Contains(e.Task, "Bring Go") && (e.Outcome != "ok" || e.Result.Changed != changed) {
					w.Fatalf("%s: changed=%v, want %v: %s\n%s", e.Host, e.Result.Changed, changed, e.Result.text(), out)
				}
			}
			if len(events) == 0 {
				w.Fatalf("no results:\n%s", out)
			}
			return last
		}

		before := w.left("h1")
		events, out := w.playbook(play, vars("1.26.7", one), "-l", "h1")
		if r := events[len(events)-1].Result; !r.Failed || !strings.Contains(r.text(), "gofleet_modules is for the program gofleet to read, and it is not on this machine's PATH") {
			w.Fatalf("without gofleet:\n%s", out)
		}
		w.env = append(slices.Clone(w.env), "GOFLEET="+built.gofleet)
		open := vars("1.26.7", one)
		open["gofleet_modules"] = one
		events, out = w.playbook(play, open, "-l", "h1")
		if r := events[len(events)-1].Result; !r.Failed || !strings.Contains(r.text(), `private: ["corp.example/lib"]`) {
			w.Fatalf("modules that nobody called private:\n%s", out)
		}
		r := role(vars("1.26.7", one), true, "--check", "-l", "h1")
		if !slices.ContainsFunc(r.Actions, func(a string) bool { return strings.HasPrefix(a, "install modules: 4 of 4 files") }) {
			w.Errorf("check says %q", r.Actions)
		}
		if after := w.left("h1"); after != before {
			w.Errorf("something was left:\n%s", after)
		}

		role(vars("1.26.7", one), true)
		role(vars("1.26.7", one), false)
		if got := w.gofleet("apply", vars("1.26.7", one)); got != "h1=ok h2=ok" {
			w.Errorf("gofleet after the role: %s", got)
		}
		// The next bundle, sources and version at once, and one file drifted.
		w.write("legacy/corp.example/app/more.go", "package main\n")
		w.exec("h2", "sh", "-c", "rm /usr/local/lib/gofleet/modules/cache/download/corp.example/lib/@v/v1.0.0.zip")
		r = role(vars("1.26.8", two), true)
		if got := strings.Join(r.Actions, "; "); !strings.Contains(got, "update modules: ") || !strings.Contains(got, "sources in ~deploy/go/src: 1 to write") {
			w.Errorf("the role did %q", got)
		}
		for _, host := range []string{"h1", "h2"} {
			got := w.exec(host, "sh", "-c", "cd /usr/local/lib/gofleet/modules/cache/download/corp.example/lib/@v && cat list && ls *.zip; ls /home/deploy/go/src/corp.example/app; ls -A /usr/local/lib/gofleet/.staging 2>/dev/null; true")
			if want := "v1.0.0\nv1.1.0\nv1.0.0.zip\nv1.1.0.zip\nmain.go\nmore.go"; got != want {
				w.Errorf("%s has\n%s\nwant\n%s", host, got, want)
			}
		}
		if got := w.gofleet("audit", vars("1.26.8", two)); got != "h1=ok h2=ok" {
			w.Errorf("gofleet after the role: %s", got)
		}

		// The other way round, and audits.
		if got := w.gofleet("apply", vars("1.26.8", one)); got != "h1=changed h2=changed" {
			w.Errorf("gofleet says %s", got)
		}
		role(vars("1.26.8", one), false)
		info := w.play("gofleet.golang.toolchain_info", dict{"from_variables": true}, nil)
		for _, about := range []struct {
			from  string
			would bool
			warns string
		}{{one, false, ""}, {two, true, ""}, {filepath.Join(w.dir, "nowhere.bundle"), false, "nowhere.bundle"}} {
			events, out := w.playbook(info, vars("1.26.8", about.from), "-l", "h1")
			r := w.one(events, out)
			if r.Failed || r.Would != about.would || (len(r.Warnings) > 0) != (about.warns != "") || !strings.Contains(strings.Join(r.Warnings, " "), about.warns) {
				w.Errorf("info about %s:\n%s", about.from, out)
			}
		}
		// Where it is known what a directory of sources has, it is looked through once.
		w.env = append(w.env, "XDG_CACHE_HOME="+filepath.Join(w.dir, "cache"))
		for _, want := range []int{-1, 1} { // the first time gofleet reads it too
			opens := w.opens(filepath.Join(w.dir, "legacy/corp.example/app"))
			events, out := w.playbook(info, vars("1.26.8", one), "-l", "h1")
			if r := w.one(events, out); r.Failed || r.Would {
				w.Errorf("info:\n%s", out)
			}
			if got := opens(); want > 0 && got != want {
				w.Errorf("sources were looked through %d times, want %d", got, want)
			}
		}
		// Without the variables both go.
		play = w.plays(nil, dict{"roles": []string{"gofleet.golang.toolchain"}, "become": true})
		r = role(w.vars("1.26.8"), true)
		if got := w.exec("h1", "sh", "-c", "ls -d /usr/local/lib/gofleet/modules* /home/deploy/go/src/corp.example 2>/dev/null; true"); got != "" {
			w.Errorf("left after %q: %s", r.Actions, got)
		}
	})
}
