//go:build linux

package ansible

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/lab"
	"github.com/gofleet/gofleet/controller/internal/minisign"
)

// deb makes a package, and gives its entry in an index and its content.
func (w *world) deb(name, version, depends string) (entry string, content []byte) {
	w.Helper()
	dir := w.T.TempDir()
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Site <site@example.org>\n", name, version)
	if depends != "" {
		control += "Depends: " + depends + "\n"
	}
	if err := os.Mkdir(filepath.Join(dir, "DEBIAN"), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "DEBIAN/control"), []byte(control+"Description: of a test\n"), 0o644); err != nil {
		w.Fatal(err)
	}
	file := dir + ".deb"
	if err := command("dpkg-deb", "-b", dir, file); err != nil {
		w.Fatal(err)
	}
	content = must(os.ReadFile(file))
	return fmt.Sprintf("%sFilename: ./%s_%s_all.deb\nSize: %d\nSHA256: %x\n\n", control, name, version, len(content), sha256.Sum256(content)), content
}

// packageBundle makes a bundle with two versions of a package and what it
// needs, beside the archives.
func (w *world) packageBundle(key *minisign.SecretKey) {
	w.Helper()
	b, err := bundle.NewFileWriter(filepath.Join(w.archives, "packages"), "0.1.0", 0)
	if err != nil {
		w.Fatal(err)
	}
	defer b.Close()
	dir := "packages/" + w.exec("h1", "sh", "-c", `. /etc/os-release; echo "$ID-$VERSION_ID"`) + "/" + runtime.GOARCH + "/"
	add := func(name string, content []byte) {
		if _, err := b.Add(w.Context(), bundle.BytesSource(dir+name, 0o644, content)); err != nil {
			w.Fatal(err)
		}
	}
	lib, libFile := w.deb("site-lib", "1.0", "")
	tool, toolFile := w.deb("site-tool", "1.5", "site-lib (>= 1.0)")
	add("Packages", []byte(lib+tool))
	add("site-lib_1.0_all.deb", libFile)
	add("site-tool_1.5_all.deb", toolFile)
	if err := b.Finish(key); err != nil {
		w.Fatal(err)
	}
}

// TestPackages: packages of the distribution come through the role as they
// come through gofleet, with apt itself; who has them needs neither the bundle
// nor the program gofleet.
func TestPackages(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}, {SFTP: lab.SFTPOff}, {}}, func(w *world) {
		key := must(minisign.Generate(rand.Reader))
		w.write("site.pub", string(key.Public().File()))
		w.packageBundle(&key)
		vars := func(packages ...any) map[string]any {
			v := w.vars("1.26.8")
			maps.Copy(v, dict{"gofleet_trusted_keys": []string{filepath.Join(w.dir, "site.pub")}, "gofleet_packages": packages})
			return v
		}
		wanted := vars(dict{"name": "site-tool", "min": "1.2"})
		play := w.plays(nil, dict{"roles": []string{"gofleet.golang.toolchain"}, "become": true})
		// role runs it and wants every host to be changed or not, or to fail with words.
		role := func(vars map[string]any, want string, args ...string) string {
			w.Helper()
			events, out := w.playbook(play, vars, args...)
			if len(events) == 0 {
				w.Fatalf("no results:\n%s", out)
			}
			for _, e := range events {
				got := fmt.Sprint(e.Result.Changed)
				if e.Result.Failed {
					got = e.Result.text()
				}
				if (e.Result.Failed || strings.Contains(e.Task, "Bring Go")) && !strings.Contains(got, want) {
					w.Fatalf("%s: %s, want %s\n%s", e.Host, got, want, out)
				}
			}
			return out
		}
		status := func(host string) string {
			return w.exec(host, "sh", "-c", "dpkg-query -W site-lib site-tool 2>/dev/null; ls -d /usr/local/lib/gofleet/packages-* /run/gofleet-packages-* 2>/dev/null; true")
		}

		before := w.left("h1")
		role(wanted, "this host lacks site-tool: gofleet_packages is for the program gofleet to read, and it is not on this machine's PATH; put gofleet beside", "-l", "h1")
		without := w.env
		w.env = append(slices.Clone(w.env), "GOFLEET="+built.gofleet)
		elsewhere := maps.Clone(wanted)
		elsewhere["gofleet_archives"] = w.dir
		role(elsewhere, filepath.Join(w.dir, "packages")+" is not here; have gofleet_archives name a bundle with packages", "-l", "h1")
		role(vars(dict{"name": "site-tool", "min": "2"}), "site-tool 1.5 is the newest in the bundle, and 2 is wanted", "-l", "h1")
		out := role(wanted, "true", "--check", "--diff", "-v", "-l", "h1")
		if !strings.Contains(out, "install site-tool, and 1 packages that they need") || !strings.Contains(out, "+site-lib 1.0\n+site-tool 1.5\n") {
			w.Errorf("check says\n%s", out)
		}
		if got := w.left("h1") + status("h1"); got != before {
			w.Errorf("something was left:\n%s", got)
		}

		// gofleet first on one host, the role on the others.
		if got := w.gofleet("apply", wanted, "-l", "h3"); got != "h3=changed" {
			w.Errorf("gofleet says %s", got)
		}
		role(wanted, "true", "-l", "h1,h2")
		for _, host := range []string{"h1", "h2", "h3"} {
			if got, want := status(host), "site-lib\t1.0\nsite-tool\t1.5"; got != want {
				w.Errorf("%s has\n%s\nwant\n%s", host, got, want)
			}
		}
		role(wanted, "false")
		if out := role(wanted, "false", "--check", "--diff"); strings.Contains(out, "+++") || strings.Contains(out, "changed=1") {
			w.Errorf("check of what is done says\n%s", out)
		}
		if got := w.gofleet("apply", wanted); got != "h1=ok h2=ok h3=ok" {
			w.Errorf("gofleet after the role: %s", got)
		}
		w.env = without
		role(wanted, "false", "-l", "h1")
		w.env = append(slices.Clone(w.env), "GOFLEET="+built.gofleet)

		// An audit needs no bundle to tell what lacks.
		info := w.play("gofleet.golang.toolchain_info", dict{"from_variables": true}, nil)
		w.exec("h1", "dpkg", "--purge", "site-tool")
		for _, about := range []struct{ archives, says string }{{w.archives, "install site-tool"}, {w.dir, "install site-tool"}} {
			wanted["gofleet_archives"] = about.archives
			events, out := w.playbook(info, wanted, "-l", "h1")
			if r := w.one(events, out); r.Failed || !r.Would || !slices.Contains(r.Actions, about.says) {
				w.Errorf("info with %s:\n%s", about.archives, out)
			}
		}
	})
}
