package release

import (
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

func TestParseName(t *testing.T) {
	for _, c := range []struct {
		file string
		want Name
	}{
		{"go1.26.8.linux-amd64.tar.gz", Name{"1.26.8", amd64, false, false}},
		{"go1.26.8.linux-amd64.module.tar.gz", Name{"1.26.8", amd64, true, false}},
		{"go1.20.linux-armv6l.tar.gz", Name{"1.20", spec.Platform{OS: "linux", Arch: "armv6l"}, false, false}},
		{"go1.27rc1.windows-arm64.zip", Name{"1.27rc1", spec.Platform{OS: "windows", Arch: "arm64"}, false, true}},
		{"go1.9.2rc2.linux-386.tar.gz", Name{"1.9.2rc2", spec.Platform{OS: "linux", Arch: "386"}, false, false}},
	} {
		got, err := ParseName(c.file)
		if err != nil || got != c.want {
			t.Errorf("ParseName(%q) = %+v, %v; want %+v", c.file, got, err, c.want)
		}
		if got.String() != c.file {
			t.Errorf("%q comes back as %q", c.file, got)
		}
	}
	for _, file := range []string{
		"", "go1.26.8.tar.gz", "go1.26.8.linux-amd64", "go1.26.8.linux-amd64.tgz", "Go1.26.8.linux-amd64.tar.gz",
		"go1.26.8.linux-amd64.module.zip", "go01.26.8.linux-amd64.tar.gz", "go1..8.linux-amd64.tar.gz",
		"go1.26.8.src.tar.gz", "x/go1.26.8.linux-amd64.tar.gz", "go1.26.8.linux-amd64.tar.gz.asc",
		"go1.26.8.linux-amd64.tar.gz\n", "go1.2.3.4.linux-amd64.tar.gz",
	} {
		if got, err := ParseName(file); err == nil {
			t.Errorf("ParseName(%q) = %+v, want an error", file, got)
		}
	}
}

func TestNamesOfPlatforms(t *testing.T) {
	arm := spec.Platform{OS: "linux", Arch: "armv6l"}
	if got := OfficialName("1.26.8", arm).String(); got != "go1.26.8.linux-armv6l.tar.gz" {
		t.Error(got)
	}
	if got := ModuleName("1.26.8", arm).moduleVersion(); got != "v0.0.1-go1.26.8.linux-arm" {
		t.Error(got)
	}
	if got := OfficialName("1.26.8", spec.Platform{OS: "freebsd", Arch: "armv6l"}).String(); got != "go1.26.8.freebsd-arm.tar.gz" {
		t.Error(got)
	}
	if got := OfficialName("1.26.8", spec.Platform{OS: "windows", Arch: "amd64"}).String(); got != "go1.26.8.windows-amd64.zip" {
		t.Error(got)
	}
}

func TestCheckVersion(t *testing.T) {
	for _, v := range []string{"1.26.8", "1.20", "1.21rc2", "1.5beta1", "2.0"} {
		if err := CheckVersion(v); err != nil {
			t.Error(err)
		}
	}
	for _, v := range []string{"", "1", "go1.26.8", "1.26.08", "1.26.8 ", "../1.26", "1.26.x", "latest"} {
		if CheckVersion(v) == nil {
			t.Errorf("CheckVersion(%q) finds nothing wrong", v)
		}
	}
}

// FuzzParseName: what is accepted is written the same way, and is one path
// element.
func FuzzParseName(f *testing.F) {
	f.Add("go1.26.8.linux-amd64.module.tar.gz")
	f.Add("go1.20.windows-386.zip")
	f.Fuzz(func(t *testing.T, file string) {
		if n, err := ParseName(file); err == nil && n.String() != file {
			t.Errorf("%q comes back as %q", file, n)
		}
	})
}
