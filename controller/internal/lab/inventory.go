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
		if h.Config.Musl {
			fmt.Fprintf(&b, "      ansible_user: root\n")
		}
	}
	return b.Bytes()
}
