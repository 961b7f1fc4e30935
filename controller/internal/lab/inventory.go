//go:build linux

package lab

import (
	"bytes"
	"fmt"
)

// Inventory returns the lab as an Ansible inventory in YAML, the hosts in order
// under the group lab.
func (l *Lab) Inventory() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "lab:\n  vars:\n")
	fmt.Fprintf(&b, "    ansible_user: %s\n", AdminUser)
	fmt.Fprintf(&b, "    ansible_ssh_private_key_file: %s\n", l.KeyFile())
	fmt.Fprintf(&b, "    ansible_ssh_common_args: -o UserKnownHostsFile=%s -o IdentitiesOnly=yes\n", l.KnownHostsFile())
	fmt.Fprintf(&b, "  hosts:\n")
	for _, h := range l.Hosts {
		fmt.Fprintf(&b, "    %s:\n      ansible_host: %s\n", h.Name, h.Addr)
		if user := h.Config.login(); user != AdminUser {
			fmt.Fprintf(&b, "      ansible_user: %s\n", user)
		}
	}
	return b.Bytes()
}

// login is who can do everything on the host: root where sudo does not work, for
// lack of it or because an emulated program is not setuid.
func (h HostConfig) login() string {
	if h.Musl || h.Arch != "" && !native(h.Arch) {
		return "root"
	}
	return AdminUser
}
