package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

//go:embed peers/deploy.py
var pyinfraDeploy []byte

//go:embed peers/install.yml
var ansiblePlaybook []byte

const (
	deployKey   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f bench"
	profileText = "export PATH=/usr/local/go/bin:$PATH\n"
)

// baseline is what of a host's baseline a host without systemd can have.
const baseline = `{
	"gofleet_user": {"name": "deploy", "shell": "/bin/bash", "groups": ["users"], "authorized_keys": ["` + deployKey + `"]},
	"gofleet_packages": ["openssh-server", {"name": "sudo", "min": "1.9"}],
	"gofleet_time": {"zone": "Asia/Shanghai"},
	"gofleet_users": [{"name": "app", "authorized_keys": ["` + deployKey + `"]}],
	"gofleet_directories": [{"path": "/opt/app", "owner": "app", "mode": "0755"}],
	"gofleet_environment": {"LOG_LEVEL": "info"},
	"gofleet_environment_files": ["profile", "environment"],
	"gofleet_cache": {"modcache": "/srv/go/mod", "build": "/srv/go/build", "group": "users", "mode": "2775"},
	"gofleet_uniform": ["distribution", "kernel", "glibc", "zone"]
}`

// peer is one way to do the job. A nil idle is not measured.
type peer struct {
	name          string
	ours          bool
	install, idle func(ctx context.Context, l *lab.Lab) error
}

// peers are gofleet first, then what it is compared with.
func (b *bench) peers() []*peer {
	zstd := b.apply("zstd")
	gz := b.apply("gzip")
	full := b.apply("zstd", "-e", baseline)
	all := []*peer{
		{name: "gofleet apply, zstd", ours: true, install: zstd, idle: zstd},
		{name: "gofleet apply, the gzip file as it is", ours: true, install: gz, idle: gz},
		{name: "gofleet apply, zstd and a baseline", install: full, idle: full},
		{name: "gofleet apply --serial 50%, zstd", install: b.apply("zstd", "--serial", "50%"), idle: b.apply("zstd", "--serial", "50%")},
		{name: "ssh 'sudo tar -xz' / ssh sudo true", install: b.sshTar, idle: b.sshTrue},
	}
	if b.pyinfra != "" {
		all = append(all, &peer{name: "pyinfra", install: b.runPyinfra, idle: b.runPyinfra})
	}
	if b.ansible != "" {
		all = append(all,
			&peer{name: "the collection's role, same ansible-core", ours: true, install: b.runRole, idle: b.runRole},
			&peer{name: "ansible-playbook, tuned", install: b.runAnsible, idle: b.runAnsible})
	}
	if b.only != nil {
		all = slices.DeleteFunc(all, func(p *peer) bool { return !b.only.MatchString(p.name) })
	}
	return all
}

// prepare writes what the peers read, and warms gofleet's cache: making the
// zstd form is a cost of once, printed apart.
func (b *bench) prepare(ctx context.Context) (err error) {
	name := filepath.Base(b.archive)
	version, ok := strings.CutPrefix(name, "go")
	if b.version, _, _ = strings.Cut(version, ".linux-"); !ok || b.version == version {
		return fmt.Errorf("-archive %q is not named like a Go archive", name)
	}
	f, err := os.Open(b.archive)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	b.sha256 = fmt.Sprintf("%x", h.Sum(nil))
	if b.work, err = os.MkdirTemp("", "gofleet-bench-"); err != nil {
		return err
	}
	for file, content := range map[string][]byte{
		"deploy.py": pyinfraDeploy, "install.yml": ansiblePlaybook, "profile.sh": []byte(profileText),
	} {
		if err := os.WriteFile(filepath.Join(b.work, file), content, 0o644); err != nil {
			return err
		}
	}
	return b.warm(ctx)
}

// measure takes a peer through an installation on fresh hosts and a second run.
func (b *bench) measure(ctx context.Context, p *peer, t *table) error {
	return b.withHosts(ctx, b.hosts, func(l *lab.Lab) error {
		if err := timed(ctx, l, p, t, install, p.install); err != nil {
			return err
		}
		return timed(ctx, l, p, t, idle, p.idle)
	})
}

// withHosts calls f with a lab of n fresh hosts, which are gone behind it.
func (b *bench) withHosts(ctx context.Context, n int, f func(*lab.Lab) error) error {
	l, err := lab.Up(ctx, lab.Config{Name: "bench", UpperDir: b.disk, Ephemeral: true, Hosts: make([]lab.HostConfig, n)})
	if err != nil {
		return err
	}
	err = f(l)
	if downErr := l.Down(context.WithoutCancel(ctx)); err == nil {
		err = downErr
	}
	return err
}

func timed(ctx context.Context, l *lab.Lab, p *peer, t *table, j job, do func(context.Context, *lab.Lab) error) error {
	if do == nil {
		return nil
	}
	begun := time.Now()
	if err := do(ctx, l); err != nil {
		return err
	}
	t.add(p, j, time.Since(begun))
	return nil
}

// run runs a program, whose output is shown only if it fails.
func run(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd.Path, err, out.Bytes())
	}
	return nil
}

// warm verifies the archive and makes its zstd form, before anything is timed.
func (b *bench) warm(ctx context.Context) error {
	begun := time.Now()
	err := b.withHosts(ctx, 1, func(l *lab.Lab) error {
		for _, encoding := range []string{"gzip", "zstd"} {
			if err := b.apply(encoding)(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("verifying the archive and making its zstd form, once: %.1f s with one host\n", time.Since(begun).Seconds())
	return nil
}

// apply is gofleet itself.
func (b *bench) apply(encoding string, more ...string) func(context.Context, *lab.Lab) error {
	return func(ctx context.Context, l *lab.Lab) error {
		vars, err := json.Marshal(map[string]any{
			"gofleet_go_version": b.version,
			"gofleet_archives":   filepath.Dir(b.archive),
			"gofleet_user":       map[string]any{"name": "deploy", "shell": "/bin/bash", "authorized_keys": []string{deployKey}},
		})
		if err != nil {
			return err
		}
		args := append([]string{"apply", "-i", l.InventoryFile(), "-b",
			"--uploads", fmt.Sprint(b.hosts), "--encoding", encoding, "-e", string(vars)}, more...)
		cmd := exec.CommandContext(ctx, b.gofleet, args...)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(b.work, "state"))
		return run(cmd)
	}
}

// onAll runs ssh on every host at once.
func onAll(ctx context.Context, l *lab.Lab, stdin string, command ...string) error {
	var g errgroup.Group
	for _, h := range l.Hosts {
		g.Go(func() error {
			cmd := l.SSH(ctx, lab.AdminUser, h, command...)
			if stdin != "" {
				f, err := os.Open(stdin)
				if err != nil {
					return err
				}
				defer f.Close()
				cmd.Stdin = f
			}
			return run(cmd)
		})
	}
	return g.Wait()
}

func (b *bench) sshTar(ctx context.Context, l *lab.Lab) error {
	return onAll(ctx, l, b.archive, "sudo tar -xz -C /usr/local")
}

func (b *bench) sshTrue(ctx context.Context, l *lab.Lab) error {
	return onAll(ctx, l, "", "sudo true")
}

func (b *bench) runPyinfra(ctx context.Context, l *lab.Lab) error {
	var inventory strings.Builder
	inventory.WriteString("hosts = [\n")
	for _, h := range l.Hosts {
		fmt.Fprintf(&inventory, "    (%q, {\"ssh_user\": %q, \"ssh_key\": %q, \"ssh_known_hosts_file\": %q, \"ssh_strict_host_key_checking\": \"yes\"}),\n",
			h.Addr, lab.AdminUser, l.KeyFile(), l.KnownHostsFile())
	}
	inventory.WriteString("]\n")
	file := filepath.Join(b.work, "inventory.py")
	if err := os.WriteFile(file, []byte(inventory.String()), 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.pyinfra, "-y", file, filepath.Join(b.work, "deploy.py"))
	cmd.Dir = b.work
	cmd.Env = append(os.Environ(), "BENCH_VERSION="+b.version, "BENCH_ARCHIVE="+b.archive, "BENCH_SHA256="+b.sha256,
		"BENCH_KEY="+deployKey, "BENCH_PROFILE="+filepath.Join(b.work, "profile.sh"))
	return run(cmd)
}

func (b *bench) runAnsible(ctx context.Context, l *lab.Lab) error {
	vars, err := json.Marshal(map[string]string{
		"bench_version": b.version, "bench_archive": b.archive, "bench_sha256": b.sha256, "bench_key": deployKey,
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.ansible, "-i", l.InventoryFile(), "-f", "50", "-e", string(vars), filepath.Join(b.work, "install.yml"))
	cmd.Env = append(os.Environ(), "ANSIBLE_PIPELINING=1", "ANSIBLE_NOCOLOR=1", "ANSIBLE_LOCALHOST_WARNING=0")
	return run(cmd)
}

// runRole is the collection's role in this checkout: gofleet's agent under
// ansible-playbook.
func (b *bench) runRole(ctx context.Context, l *lab.Lab) error {
	vars, err := json.Marshal(map[string]any{
		"gofleet_go_version": b.version,
		"gofleet_archives":   filepath.Dir(b.archive),
		"gofleet_sha256":     map[string]string{"linux-" + runtime.GOARCH: b.sha256},
		"gofleet_user":       map[string]any{"name": "deploy", "shell": "/bin/bash", "authorized_keys": []string{deployKey}},
	})
	if err != nil {
		return err
	}
	checkout, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	home := filepath.Join(b.work, "collections", "ansible_collections", "gofleet")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(checkout, filepath.Join(home, "golang")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	collections := filepath.Join(b.work, "collections")
	cmd := exec.CommandContext(ctx, b.ansible, "-i", l.InventoryFile(), "-f", "50", "-e", string(vars), filepath.Join(home, "golang", "playbooks", "install.yml"))
	cmd.Env = append(os.Environ(), "ANSIBLE_PIPELINING=1", "ANSIBLE_NOCOLOR=1", "ANSIBLE_LOCALHOST_WARNING=0",
		"ANSIBLE_COLLECTIONS_PATH="+collections)
	return run(cmd)
}
