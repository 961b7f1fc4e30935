package spec

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Network is an address or a block of them. Package net/netip would be 100 KB
// of the agent.
type Network struct {
	addr [16]byte // an IPv4 address in its last four bytes
	bits int      // of the prefix, counted in the address's own family
	V6   bool
}

// ParseNetwork reads an IPv4 or IPv6 address with or without a prefix length.
// Bits behind the prefix are cleared.
func ParseNetwork(s string) (n Network, err error) {
	text, length, block := strings.Cut(s, "/")
	most := 32
	if n.V6 = strings.Contains(text, ":"); n.V6 {
		most = 128
		err = n.parse6(text)
	} else {
		err = parse4(text, n.addr[12:])
	}
	if err != nil {
		return n, fmt.Errorf("%q is not an address", s)
	}
	n.bits = most
	if block {
		bits, err := strconv.ParseUint(length, 10, 8)
		if err != nil || int(bits) > most || strconv.Itoa(int(bits)) != length {
			return n, fmt.Errorf("%q has a prefix length that is not from 0 to %d", s, most)
		}
		n.bits = int(bits)
	}
	for i := n.bits; i < most; i++ {
		at := 128 - most + i
		n.addr[at/8] &^= 0x80 >> (at % 8)
	}
	return n, nil
}

// NetworkOf is a single address from its 4 or 16 bytes. One of IPv4 that is
// written in IPv6 is what it stands for.
func NetworkOf(b []byte) (n Network, ok bool) {
	if len(b) == 16 && bytes.HasPrefix(b, mapped4) {
		b = b[12:]
	}
	if len(b) != 4 && len(b) != 16 {
		return n, false
	}
	copy(n.addr[16-len(b):], b)
	n.bits, n.V6 = 8*len(b), len(b) == 16
	return n, true
}

var mapped4 = []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}

func parse4(s string, to []byte) error {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return strconv.ErrSyntax
	}
	for i, part := range parts {
		v, err := strconv.ParseUint(part, 10, 8)
		if err != nil || strconv.Itoa(int(v)) != part {
			return strconv.ErrSyntax
		}
		to[i] = byte(v)
	}
	return nil
}

// parse6 reads groups of hexadecimal digits, once with "::" for zeros and with
// an IPv4 address for the last two.
func (n *Network) parse6(s string) error {
	head, tail, gap := strings.Cut(s, "::")
	before, err := groups(head)
	if err != nil {
		return err
	}
	after, err := groups(tail)
	if err != nil {
		return err
	}
	have := len(before) + len(after)
	if !gap && have != 16 || gap && (have > 14 || strings.Contains(head, ".")) {
		return strconv.ErrSyntax
	}
	copy(n.addr[:], before)
	copy(n.addr[16-len(after):], after)
	return nil
}

func groups(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	var out []byte
	parts := strings.Split(s, ":")
	for i, part := range parts {
		if i == len(parts)-1 && strings.Contains(part, ".") {
			var last [4]byte
			err := parse4(part, last[:])
			return append(out, last[:]...), err
		}
		v, err := strconv.ParseUint(part, 16, 16)
		if err != nil || len(part) > 4 {
			return nil, strconv.ErrSyntax
		}
		out = append(out, byte(v>>8), byte(v))
	}
	return out, nil
}

// Contains reports whether all of o lies in n.
func (n Network) Contains(o Network) bool {
	if n.V6 != o.V6 || o.bits < n.bits {
		return false
	}
	o.bits = n.bits
	at := 0
	if !n.V6 {
		at = 96
	}
	for i := at + n.bits; i < 128; i++ {
		o.addr[i/8] &^= 0x80 >> (i % 8)
	}
	return n == o
}

// All reports whether n is every address of its family.
func (n Network) All() bool { return n.bits == 0 }

// Unspecified reports whether n is the address that stands for any: 0.0.0.0 or ::.
func (n Network) Unspecified() bool { return n.addr == [16]byte{} }

// Loopback reports whether n is an address that only the host itself reaches.
func (n Network) Loopback() bool {
	if n.V6 {
		return n.addr == [16]byte{15: 1}
	}
	return n.addr[12] == 127
}

// String is the one text of a network, as ufw and firewalld write it too; that
// of a single address has no prefix length.
func (n Network) String() string {
	var b strings.Builder
	most := 128
	if n.V6 {
		n.write6(&b)
	} else {
		most = 32
		fmt.Fprintf(&b, "%d.%d.%d.%d", n.addr[12], n.addr[13], n.addr[14], n.addr[15])
	}
	if n.bits < most {
		fmt.Fprintf(&b, "/%d", n.bits)
	}
	return b.String()
}

// write6 shortens the longest run of zeros, the first of equal ones.
func (n Network) write6(b *strings.Builder) {
	group := func(i int) int { return int(n.addr[2*i])<<8 | int(n.addr[2*i+1]) }
	from, length := -1, 1
	for i := 0; i < 8; i++ {
		end := i
		for end < 8 && group(end) == 0 {
			end++
		}
		if end-i > length {
			from, length = i, end-i
		}
	}
	for i := 0; i < 8; i++ {
		if i == from {
			b.WriteString("::")
			i += length - 1
			continue
		}
		if i > 0 && i != from+length {
			b.WriteByte(':')
		}
		b.WriteString(strconv.FormatInt(int64(group(i)), 16))
	}
}
