//go:build linux

package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// images are the Debian releases that can be hosts.
var images = []string{"bookworm", "trixie", "bullseye"}

// imagePackages come on top of debootstrap's minimum.
const imagePackages = "openssh-server,sudo,procps,iproute2,python3,ca-certificates"

// emulators are the entries of binfmt_misc by Debian's architecture.
var emulators = map[string]string{
	"amd64": "qemu-x86_64", "arm64": "qemu-aarch64", "armhf": "qemu-arm", "armel": "qemu-arm", "i386": "qemu-i386",
	"ppc64el": "qemu-ppc64le", "riscv64": "qemu-riscv64", "s390x": "qemu-s390x",
}

// packages are all that h's image has beyond debootstrap's minimum and what
// comes on top, in an order that does not depend on how they were named.
func (h HostConfig) packages() []string {
	names := slices.Clone(h.Packages)
	slices.Sort(names)
	return slices.Compact(names)
}

// imageKey names the base layer that a host stands on, and an image's directory
// in the cache.
func imageKey(h HostConfig) string {
	if h.Image == "" {
		return "machine"
	}
	arch := h.Arch
	if arch == "" {
		arch = debianArch()
	}
	key := h.Image + "-" + arch
	names := h.packages()
	if h.Systemd {
		key += "-systemd"
		names = append(names, systemdPackages)
	}
	if len(names) > 0 {
		sum := sha256.Sum256([]byte(imagePackages + " " + strings.Join(names, " ")))
		key += fmt.Sprintf("-%x", sum[:6])
	}
	return key
}

// debianArch is Debian's name for what this program was built for.
func debianArch() string {
	if name, ok := map[string]string{"386": "i386", "arm": "armhf", "ppc64le": "ppc64el"}[runtime.GOARCH]; ok {
		return name
	}
	return runtime.GOARCH
}

// imageRoots returns the root filesystems that hosts stand on, by imageKey.
func imageRoots(ctx context.Context, c Config) (map[string]string, error) {
	roots := map[string]string{}
	for _, h := range c.Hosts {
		key := imageKey(h)
		if roots[key] != "" {
			continue
		}
		root, err := imageRoot(ctx, c, h)
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", h.Name, err)
		}
		roots[key] = root
	}
	return roots, nil
}

// imageRoot returns the root filesystem that h stands on: "/" without an image,
// else a directory in the cache, made first if it is not there. That takes
// a minute or two, and for a foreign architecture ten.
func imageRoot(ctx context.Context, c Config, h HostConfig) (string, error) {
	if h.Image == "" {
		return "/", nil
	}
	arch := h.Arch
	if arch == "" {
		arch = debianArch()
	}
	if err := canRun(h.Image, arch); err != nil {
		return "", err
	}
	if h.Systemd {
		if err := canBoot(); err != nil {
			return "", err
		}
	}
	root := filepath.Join(c.CacheDir, imageKey(h))
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	if err := os.MkdirAll(c.CacheDir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(root+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := flock(ctx, lock); err != nil {
		return "", fmt.Errorf("wait for image %s: %w", imageKey(h), err)
	}
	if _, err := os.Stat(root); err == nil {
		return root, nil // made by whom we waited for
	}
	c.Progress(fmt.Sprintf("making image %s in %s, which takes some minutes the first time", imageKey(h), root))
	if names := h.packages(); len(names) > 0 {
		plain := h
		plain.Packages = nil
		below, err := imageRoot(ctx, c, plain)
		if err != nil {
			return "", err
		}
		if err := addPackages(ctx, root, below, names); err != nil {
			return "", fmt.Errorf("make image %s with %s: %w", imageKey(h), strings.Join(names, ", "), err)
		}
		return root, nil
	}
	if err := makeImage(ctx, root, h, arch, c.Mirror); err != nil {
		return "", fmt.Errorf("make image %s: %w", imageKey(h), err)
	}
	return root, nil
}

// native tells whether this machine's processor runs arch.
func native(arch string) bool {
	return arch == debianArch() || arch == "i386" && debianArch() == "amd64"
}

// canRun tells why an image is not to be had on this machine.
func canRun(image, arch string) error {
	if !slices.Contains(images, image) {
		return fmt.Errorf("unknown image %q: there are %s", image, strings.Join(images, ", "))
	}
	if native(arch) {
		return nil
	}
	entry, ok := emulators[arch]
	if !ok {
		return fmt.Errorf("unknown architecture %q", arch)
	}
	b, err := os.ReadFile("/proc/sys/fs/binfmt_misc/" + entry)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.HasPrefix(b, []byte("enabled")) {
		return fmt.Errorf("this machine does not run %s programs: apt-get install qemu-user-static binfmt-support, "+
			"mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc, update-binfmts --enable", arch)
	}
	return err
}

// makeImage has debootstrap fill a directory beside root, which becomes root
// when it is whole.
func makeImage(ctx context.Context, root string, h HostConfig, arch, mirror string) error {
	part := root + ".part"
	if err := removePart(part); err != nil {
		return err
	}
	packages := imagePackages
	if h.Systemd {
		packages += "," + systemdPackages
	}
	args := []string{"--variant=minbase", "--arch=" + arch, "--include=" + packages, h.Image, part}
	if mirror == "" {
		mirror = aptMirror(ctx, h.Image)
	}
	if mirror != "" {
		args = append(args, mirror)
	}
	cmd := exec.CommandContext(ctx, "debootstrap", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("debootstrap is not installed: apt-get install debootstrap")
	}
	if err != nil {
		if len(out) > 1000 {
			out = out[len(out)-1000:]
		}
		return errors.Join(fmt.Errorf("debootstrap: %w\n%s", err, bytes.TrimSpace(out)), removePart(part))
	}
	return finish(part, root)
}

// finish makes part the image root, without what only its making needed.
func finish(part, root string) error {
	for _, pattern := range []string{"var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*", "debootstrap"} {
		found, err := filepath.Glob(filepath.Join(part, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	if err := unmountAll(part); err != nil {
		return err
	}
	return os.Rename(part, root)
}

// removePart removes what an interrupted debootstrap left, its mounts first.
func removePart(part string) error {
	if err := unmountAll(part); err != nil {
		return err
	}
	return os.RemoveAll(part)
}

// unmountAll unmounts whatever is mounted below dir, the last first.
func unmountAll(dir string) error {
	targets, err := mountsBelow(dir, "")
	if err != nil {
		return err
	}
	for _, t := range slices.Backward(targets) {
		if err := unix.Unmount(t, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", t, err)
		}
	}
	return nil
}
