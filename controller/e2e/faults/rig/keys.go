//go:build linux

package rig

import (
	"context"
	"errors"
	"os"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// adminKeys are the keys that gofleet logs in with.
const adminKeys = "/home/" + lab.AdminUser + "/.ssh/authorized_keys"

// WithdrawKeys lets nobody log in any more as the user that gofleet has.
func (h *Host) WithdrawKeys() error {
	return os.Rename(h.Path(adminKeys), h.Path(adminKeys+".kept"))
}

// GiveKeysBack undoes WithdrawKeys.
func (h *Host) GiveKeysBack() error {
	return os.Rename(h.Path(adminKeys+".kept"), h.Path(adminKeys))
}

// RotateHostKeys gives the host new keys that nobody knows, and ends the
// sessions that there are.
func (h *Host) RotateHostKeys(ctx context.Context) error {
	return h.rekey(ctx, `mkdir /etc/ssh/kept; cp -a /etc/ssh/ssh_host_* /etc/ssh/kept
		for k in /etc/ssh/ssh_host_*_key; do
			t=${k#/etc/ssh/ssh_host_}; rm -f $k $k.pub; ssh-keygen -q -N "" -t ${t%_key} -f $k
		done`)
}

// RestoreHostKeys undoes RotateHostKeys.
func (h *Host) RestoreHostKeys(ctx context.Context) error {
	return h.rekey(ctx, `rm /etc/ssh/ssh_host_*; mv /etc/ssh/kept/* /etc/ssh/; rmdir /etc/ssh/kept`)
}

// rekey runs a script while there is no sshd, which reads its keys once.
func (h *Host) rekey(ctx context.Context, script string) error {
	if err := h.KillSSHD(ctx); err != nil {
		return err
	}
	_, err := h.Exec(ctx, "sh", "-ec", script)
	return errors.Join(err, h.StartSSHD(ctx))
}
