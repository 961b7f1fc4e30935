package baseline

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/gofleet/gofleet/agent/spec"
)

// interfaceOf is the name of the interface that has an address; "" if none has.
func interfaceOf(address spec.Network) string {
	table, err := syscall.NetlinkRIB(syscall.RTM_GETADDR, syscall.AF_UNSPEC)
	if err != nil {
		return ""
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return ""
	}
	for _, m := range messages {
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if m.Header.Type != syscall.RTM_NEWADDR || err != nil {
			continue
		}
		for _, a := range attrs {
			own, ok := spec.NetworkOf(a.Value)
			if ok && own == address && (a.Attr.Type == syscall.IFA_LOCAL || a.Attr.Type == syscall.IFA_ADDRESS) {
				return interfaceName(binary.NativeEndian.Uint32(m.Data[4:])) // of struct ifaddrmsg, the index
			}
		}
	}
	return ""
}

func interfaceName(index uint32) string {
	files, _ := filepath.Glob("/sys/class/net/*/ifindex")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(b)) == strconv.FormatUint(uint64(index), 10) {
			return filepath.Base(filepath.Dir(file))
		}
	}
	return ""
}
