package distro

import (
	"strings"
	"testing"
)

func TestSources(t *testing.T) {
	machine := []string{
		"http://mirror.example/apt/ nodistro main", "http://mirror.example/debian/ bookworm main", "http://mirror.example/debian/ bookworm-updates main",
		"http://mirror.example/debian-security/ bookworm-security main",
	}
	for _, c := range []struct {
		release, mirror string
		lines           []string
		want            string
	}{
		{"debian-13", "", machine, "http://mirror.example/debian trixie, http://mirror.example/debian trixie-updates, http://mirror.example/debian-security trixie-security"},
		{"debian-12", "http://other.example/debian/", machine, "http://other.example/debian bookworm, http://other.example/debian bookworm-updates, http://other.example/debian-security bookworm-security"},
		{"ubuntu-24.04", "http://other.example/ubuntu", nil, "http://other.example/ubuntu noble, http://other.example/ubuntu noble-updates, http://other.example/ubuntu noble-security"},
		{"ubuntu-24.04", "", machine, "error"},
	} {
		r, err := Find(c.release)
		if err != nil {
			t.Fatal(err)
		}
		sources, err := r.sources(c.mirror, c.lines)
		var got []string
		for _, s := range sources {
			got = append(got, s.uri+" "+s.suite)
		}
		if err != nil {
			got = []string{"error"}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s of %q: %q, %v; want %q", c.release, c.mirror, got, err, c.want)
		}
	}
	if _, err := Find("debian-9"); err == nil || !strings.Contains(err.Error(), "debian-12") {
		t.Errorf("an unknown release: %v", err)
	}
}

func TestIndex(t *testing.T) {
	const sum = "0000000000000000000000000000000000000000000000000000000000000001"
	const text = "Package: git\nVersion: 1:2.39.5-0\nArchitecture: amd64\nDescription: version control\n more of it\nDepends: libc6 (>= 2.34)\nFilename: pool/g/git.deb\nSize: 12\nSHA256: " + sum + "\n\nPackage: bash\nEssential: yes\nVersion: 5\nArchitecture: amd64\nSize: 1\nSHA256: " + sum + "\n"
	var all []Stanza
	err := readIndex(strings.NewReader(text), func(fields map[string]string) error {
		p, err := stanzaOf(fields)
		all = append(all, p)
		return err
	})
	if err != nil || len(all) != 2 || all[0].required || !all[1].required {
		t.Fatalf("%+v, %v", all, err)
	}
	want := "Package: git\nVersion: 1:2.39.5-0\nArchitecture: amd64\nDepends: libc6 (>= 2.34)\nFilename: ./git_1%3a2.39.5-0_amd64.deb\nSize: 12\nSHA256: " + sum + "\n\n"
	if got := all[0].Index(); got != want {
		t.Errorf("index %q, want %q", got, want)
	}
	if _, err := stanzaOf(map[string]string{"Package": "x", "Version": "1"}); err == nil {
		t.Error("an entry without a sum was taken")
	}
}

func TestInstalledLines(t *testing.T) {
	for _, c := range []struct {
		line, name, version string
		ok                  bool
	}{
		{"Inst libc6-dev (2.36-9 Debian:12/stable [amd64])", "libc6-dev", "2.36-9", true},
		{"Inst git [1:2.30.2-1] (1:2.39.5-0 Debian:12/stable [amd64]) []", "git", "1:2.39.5-0", true},
		{"Inst libgcc-s1:arm64 (12 Debian [arm64])", "libgcc-s1", "12", true},
		{"Conf git (1:2.39.5-0 x [amd64])", "", "", false}, {"Inst git", "", "", false},
	} {
		if name, version, ok := installed(c.line); name != c.name || version != c.version || ok != c.ok {
			t.Errorf("%q: %q %q %v", c.line, name, version, ok)
		}
	}
}

func TestBound(t *testing.T) {
	of := func(name, depends string) Stanza {
		return Stanza{Name: name, text: "Package: " + name + "\nDepends: " + depends + "\n"}
	}
	base := []Stanza{
		of("libc6", "libgcc-s1, libcrypt1"), of("libc-bin", "libc6 (>> 2.36), libc6 (<< 2.37)"), of("gcc-12-base", ""), of("libgcc-s1", "gcc-12-base (= 12.2.0-14), libc6 (>= 2.35)"),
		of("libstdc++6", "gcc-12-base (= 12.2.0-14)"), of("perl-base", ""), of("dash", "debianutils (>= 5)"),
	}
	for _, c := range []struct {
		wanted Stanza
		want   string
	}{
		{of("make", "libc6 (>= 2.34)"), ""},
		{of("libc6-dev", "libc6 (= 2.36-9), libcrypt-dev, libnsl-dev (= 1)"), "libc6"},
		{of("libgcc-12-dev", "gcc-12-base (= 12.2.0-14), libgcc-s1 (>= 12)"), "gcc-12-base libgcc-s1 libstdc++6"},
		{of("perl", "perl-base:any (= 5.36.0-7), x | y (= 2)"), "perl-base"},
		{of("libgcc-s1", "gcc-12-base (= 12.2.0-14)"), "gcc-12-base libgcc-s1 libstdc++6"},
	} {
		if got := strings.Join(bound([]Stanza{c.wanted}, base), " "); got != c.want {
			t.Errorf("%s binds %q, want %q", c.wanted.Name, got, c.want)
		}
	}
}
