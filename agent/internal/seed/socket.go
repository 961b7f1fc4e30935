package seed

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listen makes a listening socket for all addresses of this host, of both
// families where the host has both. Port 0 takes a free one.
func listen(port int) (*os.File, int, error) {
	fd, err := bound(syscall.AF_INET6, &syscall.SockaddrInet6{Port: port})
	if err != nil { // IPv6 may be off
		fd, err = bound(syscall.AF_INET, &syscall.SockaddrInet4{Port: port})
	}
	if err != nil {
		return nil, 0, fmt.Errorf("listen on port %d: %w", port, err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	at, err := syscall.Getsockname(fd)
	switch at := at.(type) {
	case *syscall.SockaddrInet6:
		return f, at.Port, nil
	case *syscall.SockaddrInet4:
		return f, at.Port, nil
	}
	f.Close()
	return nil, 0, fmt.Errorf("listen on port %d: %w", port, err)
}

func open(family int) (int, error) {
	return syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
}

// bound gives a socket that listens.
func bound(family int, at syscall.Sockaddr) (int, error) {
	fd, err := open(family)
	if err != nil {
		return -1, err
	}
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil && family == syscall.AF_INET6 {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0)
	}
	if err == nil {
		err = syscall.Bind(fd, at)
	}
	if err == nil {
		err = syscall.Listen(fd, maxConnections)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// accept waits for a connection, until the listener is closed.
func accept(listener *os.File) (*os.File, error) {
	raw, err := listener.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	waitErr := raw.Read(func(l uintptr) bool {
		fd, _, err = syscall.Accept4(int(l), syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK)
		return !errors.Is(err, syscall.EAGAIN)
	})
	switch {
	case waitErr != nil:
		return nil, waitErr
	case err != nil:
		return nil, os.NewSyscallError("accept", err)
	}
	return os.NewFile(uintptr(fd), "connection"), nil
}

// connect connects to an address of 4 or 16 bytes.
func connect(ctx context.Context, ip []byte, port int) (*os.File, error) {
	family := syscall.AF_INET
	var to syscall.Sockaddr
	switch len(ip) {
	case 4:
		to = &syscall.SockaddrInet4{Port: port, Addr: [4]byte(ip)}
	case 16:
		family, to = syscall.AF_INET6, &syscall.SockaddrInet6{Port: port, Addr: [16]byte(ip)}
	default:
		return nil, fmt.Errorf("an address of %d bytes is none", len(ip))
	}
	fd, err := open(family)
	if err != nil {
		return nil, err
	}
	if err = syscall.Connect(fd, to); errors.Is(err, syscall.EINPROGRESS) {
		err = connected(ctx, fd, time.Now().Add(connectTime))
	}
	if err != nil {
		syscall.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "connection"), nil
}

// connected waits for the end of a connect that was begun.
func connected(ctx context.Context, fd int, until time.Time) error {
	for ctx.Err() == nil {
		left := time.Until(until)
		if left <= 0 {
			return errors.New("no answer")
		}
		wait := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(wait, int(min(left, 200*time.Millisecond).Milliseconds())+1)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if n < 1 {
			continue
		}
		code, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err == nil && code != 0 {
			err = syscall.Errno(code)
		}
		return err
	}
	return context.Cause(ctx)
}

// addresses are this host's own that others may reach it by. Those of docker's
// bridges and the like are among them: who tries all finds the right one.
func addresses() [][]byte {
	rib, err := syscall.NetlinkRIB(syscall.RTM_GETADDR, syscall.AF_UNSPEC)
	if err != nil {
		return nil
	}
	var out [][]byte
	for _, m := range parts(rib, 4, 16) {
		const head = 16 + syscall.SizeofIfAddrmsg // nlmsghdr; family, prefix length, flags, scope, index
		if len(m) < head || native.Uint16(m[4:]) != syscall.RTM_NEWADDR || m[19] >= syscall.RT_SCOPE_LINK {
			continue
		}
		want := uint16(syscall.IFA_LOCAL)
		if m[16] == syscall.AF_INET6 {
			want = syscall.IFA_ADDRESS
		}
		for _, a := range parts(m[head:], 2, 4) {
			if ip := a[4:]; native.Uint16(a[2:]) == want && (len(ip) == 4 || len(ip) == 16) {
				out = append(out, ip)
			}
		}
	}
	return out
}

var native = binary.NativeEndian

// parts gives the pieces that netlink lays one behind the other, each with its
// length in its first bytes and aligned to four.
func parts(b []byte, lengthSize, head int) (all [][]byte) {
	for len(b) >= head {
		n := int(native.Uint16(b))
		if lengthSize == 4 {
			n = int(native.Uint32(b))
		}
		if n < head || n > len(b) {
			break
		}
		all = append(all, b[:n])
		b = b[min((n+3)&^3, len(b)):]
	}
	return all
}
