package bundle

import (
	"strings"
	"testing"
)

func TestPackageOf(t *testing.T) {
	for _, c := range []struct{ path, name, version, arch, purl string }{
		{"packages/debian-12/amd64/git_1%3a2.39.5-0+deb12u2_amd64.deb", "git", "1:2.39.5-0+deb12u2", "amd64", "pkg:deb/debian/git@1:2.39.5-0%2Bdeb12u2?arch=amd64&distro=debian-12"},
		{"packages/debian-12/amd64/g++_4%3a12.2.0-3_amd64.deb", "g++", "4:12.2.0-3", "amd64", "pkg:deb/debian/g%2B%2B@4:12.2.0-3?arch=amd64&distro=debian-12"},
		{"packages/rocky-9/rpm/gcc-c++-11.5.0-5.el9.x86_64.rpm", "gcc-c++", "11.5.0-5.el9", "x86_64", "pkg:rpm/rocky/gcc-c%2B%2B@11.5.0-5.el9?arch=x86_64&distro=rocky-9"},
		{"packages/debian-12/amd64/Packages", "", "", "", ""},
		{"packages/debian-12/amd64/evidence/README", "", "", "", ""},
		{"packages/debian-12/amd64/x.deb", "", "", "", ""},
		{"packages/rocky-9/rpm/x.rpm", "", "", "", ""},
	} {
		p, ok := packageOf(File{Path: c.path, Size: 1})
		if !ok {
			p = ListedPackage{}
		}
		if ok != (c.name != "") || p.Name != c.name || p.Version != c.version || p.Arch != c.arch || ok && p.purl() != c.purl {
			t.Errorf("%s: %+v %v", c.path, p, ok)
		}
	}
	sbom := string(newSBOM("1", []File{{Path: "packages/debian-12/amd64/make_4.3-4.1_amd64.deb", SHA256: strings.Repeat("0", 64)}}))
	if !strings.Contains(sbom, `"pkg:deb/debian/make@4.3-4.1?arch=amd64\u0026distro=debian-12"`) {
		t.Errorf("the SBOM has no make:\n%s", sbom)
	}
	l := &List{Packages: []ListedPackage{
		{Distribution: "debian-12", Name: "gcc", Version: "4:12.2.0-3", Size: 2000, dir: "amd64"}, {Distribution: "debian-12", Name: "make", Version: "4.3", Size: 1000, dir: "amd64"},
		{Distribution: "rocky-9", Name: "gcc", Version: "11-5", Size: 1000, dir: "rpm"},
	}}
	var b strings.Builder
	l.packages(&b)
	if got, want := strings.Join(strings.Fields(b.String()), " "), "2 packages of debian-12/amd64 3 kB gcc 4:12.2.0-3 2 kB make 4.3 1 kB 1 packages of rocky-9/rpm 1 kB gcc 11-5 1 kB"; got != want {
		t.Errorf("list %q, want %q", got, want)
	}
}
