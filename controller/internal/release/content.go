package release

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
)

// maxVersionFile bounds what is kept of VERSION; it has two short lines.
const maxVersionFile = 4 << 10

// headSize is how much of a program is looked at.
const headSize = 4 << 10

// content is what an archive says of itself, apart from its name.
type content struct {
	Version  string             `json:"version"`  // first line of VERSION
	Programs map[string]program `json:"programs"` // those that every toolchain needs, by path
	Dirs     []string           `json:"dirs"`     // of sourceDirs, those that are there
}

// program is one file among the programs.
type program struct {
	Mode    fs.FileMode `json:"mode"`
	Machine string      `json:"machine"` // as machine says it
}

// programs are those that must be there and be for the platform. {tool} is
// pkg/tool/<GOOS>_<GOARCH>.
var programs = []string{"bin/go", "bin/gofmt", "{tool}/asm", "{tool}/compile", "{tool}/link"}

// sourceDirs must be there for anything to be built.
var sourceDirs = []string{"src/cmd", "src/runtime"}

func programPath(p string, platform spec.Platform) string {
	p = strings.Replace(p, "{tool}", "pkg/tool/"+platform.OS+"_"+platform.GOARCH(), 1)
	if platform.OS == "windows" {
		p += ".exe"
	}
	return p
}

// visit keeps what check will want of an entry that the strict reader passes.
func (c *content) visit(e tree.Entry, r io.Reader) error {
	switch {
	case e.Dir && slices.Contains(sourceDirs, e.Path):
		c.Dirs = append(c.Dirs, e.Path)
		return nil
	case e.Dir:
		return nil
	case e.Path == "VERSION":
		text, err := io.ReadAll(io.LimitReader(r, maxVersionFile))
		line, _, _ := strings.Cut(string(text), "\n")
		c.Version = strings.TrimSpace(line)
		return err
	case isProgram(e.Path):
		head, err := io.ReadAll(io.LimitReader(r, headSize))
		if c.Programs == nil {
			c.Programs = map[string]program{}
		}
		c.Programs[e.Path] = program{e.Mode, machine(head)}
		return err
	}
	return nil
}

// isProgram tells whether the path is that of one of programs, for any
// platform.
func isProgram(p string) bool {
	dir, base := path.Split(strings.TrimSuffix(p, ".exe"))
	if dir != "bin/" && (path.Dir(path.Clean(dir)) != "pkg/tool") {
		return false
	}
	return slices.ContainsFunc(programs, func(q string) bool { return path.Base(q) == base })
}

// check tells why the content does not fit the name, or nil.
func (c *content) check(n Name) error {
	if want := "go" + n.Version; c.Version != want {
		return fmt.Errorf("its VERSION says %q, its name %q", c.Version, want)
	}
	want := machines[n.Platform]
	if want == "" {
		return fmt.Errorf("gofleet does not know what programs for %s look like", n.Platform)
	}
	for _, path := range programs {
		path = programPath(path, n.Platform)
		switch p, ok := c.Programs[path]; {
		case !ok:
			return fmt.Errorf("%s is not in it", path)
		case p.Mode != 0o755:
			return fmt.Errorf("%s is not executable", path)
		case p.Machine != want:
			return fmt.Errorf("%s is %s; on %s it would be %s", path, p.Machine, n.Platform, want)
		}
	}
	for _, d := range sourceDirs {
		if !slices.Contains(c.Dirs, d) {
			return fmt.Errorf("%s is not in it", d)
		}
	}
	return nil
}

// machines are the programs that each platform runs, as machine names them.
var machines = map[spec.Platform]string{
	{OS: "linux", Arch: "386"}:      "ELF 32-bit little-endian EM_386",
	{OS: "linux", Arch: "amd64"}:    "ELF 64-bit little-endian EM_X86_64",
	{OS: "linux", Arch: "armv6l"}:   "ELF 32-bit little-endian EM_ARM",
	{OS: "linux", Arch: "arm64"}:    "ELF 64-bit little-endian EM_AARCH64",
	{OS: "linux", Arch: "loong64"}:  "ELF 64-bit little-endian EM_LOONGARCH",
	{OS: "linux", Arch: "mips"}:     "ELF 32-bit big-endian EM_MIPS",
	{OS: "linux", Arch: "mipsle"}:   "ELF 32-bit little-endian EM_MIPS",
	{OS: "linux", Arch: "mips64"}:   "ELF 64-bit big-endian EM_MIPS",
	{OS: "linux", Arch: "mips64le"}: "ELF 64-bit little-endian EM_MIPS",
	{OS: "linux", Arch: "ppc64"}:    "ELF 64-bit big-endian EM_PPC64",
	{OS: "linux", Arch: "ppc64le"}:  "ELF 64-bit little-endian EM_PPC64",
	{OS: "linux", Arch: "riscv64"}:  "ELF 64-bit little-endian EM_RISCV",
	{OS: "linux", Arch: "s390x"}:    "ELF 64-bit big-endian EM_S390",
	{OS: "darwin", Arch: "amd64"}:   "Mach-O CpuAmd64",
	{OS: "darwin", Arch: "arm64"}:   "Mach-O CpuArm64",
	{OS: "windows", Arch: "386"}:    "PE 0x14c",
	{OS: "windows", Arch: "amd64"}:  "PE 0x8664",
	{OS: "windows", Arch: "arm64"}:  "PE 0xaa64",
}

// machine says for which machine a program is, from its first bytes. debug/elf
// and its like want the whole file; the header is enough here.
func machine(head []byte) string {
	switch {
	case len(head) >= 20 && string(head[:4]) == elf.ELFMAG:
		var order binary.ByteOrder = binary.LittleEndian
		end := "little-endian"
		if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
			order, end = binary.BigEndian, "big-endian"
		}
		bits := "32-bit"
		if elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64 {
			bits = "64-bit"
		}
		return fmt.Sprintf("ELF %s %s %v", bits, end, elf.Machine(order.Uint16(head[18:])))
	case len(head) >= 8 && binary.LittleEndian.Uint32(head) == macho.Magic64:
		return fmt.Sprintf("Mach-O %v", macho.Cpu(binary.LittleEndian.Uint32(head[4:])))
	case bytes.HasPrefix(head, []byte("MZ")) && len(head) >= 0x40:
		at := int(binary.LittleEndian.Uint32(head[0x3c:]))
		var h pe.FileHeader
		if at < 0 || at+4+binary.Size(h) > len(head) || string(head[at:at+4]) != "PE\x00\x00" {
			return "a broken PE program"
		}
		return fmt.Sprintf("PE %#x", binary.LittleEndian.Uint16(head[at+4:]))
	}
	return "no program"
}
