//go:build linux

package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is the disk of a host, whose power can be cut: ext4 in a file, which
// keeps what was synced and as little else as it can.
type Disk struct {
	image, at string
}

// NewDisk makes a disk and mounts it at a directory.
func NewDisk(ctx context.Context, image, at string, size int64) (*Disk, error) {
	d := &Disk{image: image, at: at}
	f, err := os.Create(image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close(), os.MkdirAll(at, 0o755)); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mkfs.ext4: %w\n%s", err, out)
	}
	return d, d.mount(ctx)
}

// mount mounts it so that nothing reaches the disk before somebody syncs it:
// no commits in time, no order between data and names, none of the flushes
// with which ext4 helps programs that forget to sync.
func (d *Disk) mount(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "mount", "-t", "ext4", "-o", "loop,data=writeback,noauto_da_alloc,commit=900", d.image, d.at).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount %s: %w\n%s", d.image, err, out)
	}
	return nil
}

// CutPower ends all writing to the disk at this instant; what was not synced
// is lost. Restore brings the disk back.
func (d *Disk) CutPower() error {
	f, err := os.Open(d.at)
	if err != nil {
		return err
	}
	defer f.Close()
	const (
		shutdown   = 0x8004587d // EXT4_IOC_SHUTDOWN
		noLogFlush = 2          // not the journal either
	)
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush); err != nil {
		return fmt.Errorf("cut the power of %s: %w", d.image, err)
	}
	return nil
}

// Restore mounts the disk again, as a machine does that boots. No process may
// use it.
func (d *Disk) Restore(ctx context.Context) error {
	if err := d.Close(); err != nil {
		return err
	}
	// A host that is being started holds, for an instant, every mount of this
	// machine; while one does, the disk would come back as it was cut off.
	if err := Until(ctx, func() (bool, error) {
		devices, err := exec.CommandContext(ctx, "losetup", "-j", d.image).Output()
		return len(devices) == 0, err
	}); err != nil {
		return fmt.Errorf("wait for the end of %s: %w", d.image, err)
	}
	return d.mount(ctx)
}

// Sync makes everything durable, as time does.
func (d *Disk) Sync() error {
	f, err := os.Open(d.at)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// Close unmounts it.
func (d *Disk) Close() error {
	if err := unix.Unmount(d.at, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", d.at, err)
	}
	return nil
}

// DiskPlace is where a host's disk has to be mounted before its lab comes up:
// the lab's Config names upper and lab.
func DiskPlace(upper, lab, host string) string {
	return filepath.Join(upper, "gofleet-lab-"+lab, "hosts", host)
}
