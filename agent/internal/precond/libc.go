package precond

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/policy"
	"github.com/gofleet/gofleet/agent/spec"
)

// userland is what a program of the host is made for.
type userland struct {
	bits   int    // 32, 64, or 0 for unknown
	loader string // its dynamic loader; "" for a static program
}

// userland looks at the first program that is there. A 64-bit kernel says
// nothing of it.
func (h host) userland() userland {
	for _, p := range []string{"/bin/sh", "/usr/bin/env", "/bin/busybox", "/sbin/init", "/proc/1/exe"} {
		if u, err := readProgram(h.path(p)); err == nil {
			return u
		}
	}
	return userland{}
}

// readProgram reads the head of an ELF file: its class, and the loader that
// its PT_INTERP names. debug/elf would bring DWARF into the agent.
func readProgram(name string) (userland, error) {
	f, err := os.Open(name)
	if err != nil {
		return userland{}, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return userland{}, errors.New("not a regular file")
	}
	return parseProgram(f)
}

// What parseProgram needs of the ELF format.
const (
	elfMagic      = "\x7fELF"
	elfClass      = 4 // index into the head
	elfData       = 5
	class64       = 2
	dataBig       = 2
	programInterp = 3 // PT_INTERP
)

func parseProgram(r io.ReaderAt) (userland, error) {
	bad := errors.New("not an ELF program")
	head := make([]byte, 64)
	if n, _ := r.ReadAt(head, 0); n < 52 || string(head[:4]) != elfMagic {
		return userland{}, bad
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[elfData] == dataBig {
		order = binary.BigEndian
	}
	u := userland{bits: 32}
	offset, size, count := int64(order.Uint32(head[28:])), int(order.Uint16(head[42:])), int(order.Uint16(head[44:]))
	if head[elfClass] == class64 {
		u.bits = 64
		offset, size, count = int64(order.Uint64(head[32:])), int(order.Uint16(head[54:])), int(order.Uint16(head[56:]))
	}
	if size < 32 || u.bits == 64 && size < 56 || size > 256 || count > 256 || offset < 0 {
		return userland{}, bad
	}
	table := make([]byte, size*count)
	if _, err := r.ReadAt(table, offset); err != nil {
		return userland{}, bad
	}
	for ; len(table) >= size; table = table[size:] {
		if order.Uint32(table) != programInterp {
			continue
		}
		at, length := int64(order.Uint32(table[4:])), uint64(order.Uint32(table[16:]))
		if u.bits == 64 {
			at, length = int64(order.Uint64(table[8:])), order.Uint64(table[32:])
		}
		if length > 4096 || at < 0 {
			return userland{}, bad
		}
		name := make([]byte, length)
		if _, err := r.ReadAt(name, at); err != nil {
			return userland{}, bad
		}
		u.loader = string(bytes.TrimRight(name, "\x00"))
		break
	}
	return u, nil
}

// loaders are where loaders lie, for a host whose shell is static.
var loaders = []string{
	"/lib64/ld-linux-*.so.*", "/lib/ld-linux*.so.*", "/lib64/ld64.so.*", "/lib/ld64.so.*", "/lib/ld-musl-*.so.1",
}

// libc says which C library programs get here, as Facts.Libc does.
func (h host) libc(ctx context.Context, u userland) string {
	loader := u.loader
	for i := 0; loader == "" && i < len(loaders); i++ {
		if found, _ := filepath.Glob(h.path(loaders[i])); len(found) > 0 {
			loader = strings.TrimPrefix(found[0], h.path("/"))
			loader = "/" + strings.TrimPrefix(loader, "/")
		}
	}
	switch {
	case loader == "":
		return "none"
	case strings.Contains(filepath.Base(loader), "musl"):
		return policy.Libc("musl " + h.muslVersion(ctx, loader))
	}
	if v := h.glibcVersion(loader); v != "" {
		return policy.Libc("glibc " + v)
	}
	if out, _ := h.run(ctx, "getconf", "GNU_LIBC_VERSION"); out != "" {
		return policy.Libc(firstLine(out))
	}
	return policy.Libc("glibc")
}

// muslVersion runs the loader, which tells its version and fails; musl's
// files have it nowhere that could be told from other numbers.
func (h host) muslVersion(ctx context.Context, loader string) string {
	out, _ := h.run(ctx, loader)
	for _, line := range strings.SplitAfter(out, "\n") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Version "); ok {
			return firstVersion(v)
		}
	}
	return ""
}

// glibcVersion reads the version out of libc.so.6, which lies beside the real
// loader or in one of the usual directories.
func (h host) glibcVersion(loader string) string {
	real, err := filepath.EvalSymlinks(h.path(loader))
	if err != nil {
		real = h.path(loader)
	}
	candidates := []string{
		filepath.Join(filepath.Dir(real), "libc.so.6"), filepath.Join(filepath.Dir(h.path(loader)), "libc.so.6"),
	}
	for _, dir := range []string{"/lib64", "/usr/lib64", "/lib/*-linux-gnu*", "/usr/lib/*-linux-gnu*", "/lib", "/usr/lib"} {
		found, _ := filepath.Glob(h.path(dir + "/libc.so.6"))
		candidates = append(candidates, found...)
	}
	for _, c := range candidates {
		f, err := os.Open(c)
		if err != nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(f, 16<<20))
		f.Close()
		if err != nil {
			continue
		}
		if v := versionInLibc(b); v != "" {
			return v
		}
	}
	return ""
}

// versionInLibc finds "GNU C Library (Debian GLIBC 2.36-9) stable release
// version 2.36." in glibc's content or, where a vendor has altered that, the
// highest of its symbol versions.
func versionInLibc(b []byte) string {
	if i := bytes.Index(b, []byte("GNU C Library ")); i >= 0 {
		banner := b[i:min(len(b), i+256)]
		if _, after, ok := bytes.Cut(banner, []byte(" release version ")); ok {
			if v := firstVersion(string(after)); v != "" {
				return v
			}
		}
	}
	highest := ""
	for {
		_, after, ok := bytes.Cut(b, []byte("\x00GLIBC_2."))
		if !ok {
			return highest
		}
		b = after
		v := firstVersion("2." + string(after[:min(len(after), 8)]))
		if highest == "" || spec.CompareVersions(v, highest) > 0 {
			highest = v
		}
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}
