//go:build linux

package ansible

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/lab"
	"github.com/gofleet/gofleet/controller/internal/minisign"
)

// carry makes a bundle of the archive of a version.
func (w *world) carry(b *bundle.Writer, err error, version string, key *minisign.SecretKey) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	defer b.Close()
	w.archive(version, nil)
	path := w.archivePath(version)
	_, err = b.Add(w.Context(), bundle.BytesSource("archives/"+filepath.Base(path), 0o644, must(os.ReadFile(path))))
	if err == nil {
		err = b.Finish(key)
	}
	if err != nil {
		w.Fatal(err)
	}
}

// TestBundles: archives and their evidence come out of bundles of any form, by
// way of the program gofleet; without it they are refused by name.
func TestBundles(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}, {}}, func(w *world) {
		key := must(minisign.Generate(rand.Reader))
		w.write("site.pub", string(key.Public().File()))
		whole, dir, parts := filepath.Join(w.dir, "whole.bundle"), filepath.Join(w.dir, "dir"), filepath.Join(w.dir, "parts.bundle")
		b, err := bundle.NewFileWriter(whole, "0.1.0", 0)
		w.carry(b, err, "1.99.1", &key)
		b, err = bundle.NewDirWriter(dir, "0.1.0")
		w.carry(b, err, "1.99.2", &key)
		b, err = bundle.NewFileWriter(parts, "0.1.0", 64<<10)
		w.carry(b, err, "1.99.3", &key)
		options := func(version, archives string, more ...dict) dict {
			o := dict{"go_version": version, "archives": archives, "trusted_keys": []string{filepath.Join(w.dir, "site.pub")}}
			for _, m := range more {
				o = merge(o, m)
			}
			return o
		}

		before := w.left("h1")
		w.refused(options("1.99.1", whole), nil, whole+" is a bundle, which only the program gofleet can read, and it is not on this machine's PATH; "+
			"put gofleet beside ansible-playbook (or its path into the environment variable GOFLEET), or let archives name a directory", "-l", "h1")
		w.env = append(slices.Clone(w.env), "GOFLEET="+built.gofleet)
		r := w.refused(options("1.99.1", whole, dict{"trusted_keys": []string{}}), nil, "trusted", "-l", "h1")
		if r.Kind != "archive_corrupt" {
			w.Errorf("kind is %s", r.Kind)
		}
		wrong := dict{"sha256": dict{"linux-amd64": strings.Repeat("0", 64), "linux-arm64": strings.Repeat("0", 64)}}
		w.refused(options("1.99.1", whole, wrong), nil, ": sha256 pins", "-l", "h1")
		w.refused(options("1.99.9", whole), nil, "no archive of go1.99.9", "-l", "h1")
		w.install(options("1.99.1", whole), nil, true, "--check", "-l", "h1")
		if after := w.left("h1"); after != before {
			w.Errorf("something was left:\n%s", after)
		}

		for _, one := range [][2]string{{"1.99.1", whole}, {"1.99.2", dir}, {"1.99.3", parts}, {"1.99.3", parts + ".part001"}} {
			version, archives := one[0], one[1]
			events, out := w.playbook(w.play("gofleet.golang.toolchain", options(version, archives), nil), nil)
			for _, e := range events {
				if changed := archives != parts+".part001"; e.Outcome != "ok" || e.Result.Changed != changed {
					w.Fatalf("%s: changed=%v, want %v: %s\n%s", e.Host, e.Result.Changed, changed, e.Result.text(), out)
				}
			}
			if got := w.goVersion("h2"); !strings.Contains(got, "go"+version) {
				w.Errorf("go version says %q", got)
			}
		}
		if got := w.exec("h1", "sh", "-c", "cat /usr/local/lib/gofleet/manifests/go1.99.3*"); !strings.Contains(got, "manifest signed by "+key.Public().ID.String()) {
			w.Errorf("the evidence on the host is not the bundle's:\n%.2000s", got)
		}

		// One byte is wrong.
		damaged := must(os.ReadFile(whole))
		damaged[len(damaged)/2] ^= 1
		w.write("whole.bundle", string(damaged))
		w.refused(options("1.99.1", whole), nil, "whole.bundle", "-l", "h1")
	})
}
