package remote

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/gofleet/gofleet/agent/spec"
)

func TestScanner(t *testing.T) {
	const m = "0123456789abcdef"
	for name, c := range map[string]struct{ in, verb, rest string }{
		"alone":                  {m + " hello {}\n", "hello", "{}"},
		"behind noise":           {"Welcome\n" + m + " need a b\n", "need", "a b"},
		"on the noise's line":    {"Welcome " + m + " need a b\r\n", "need", "a b"},
		"half a marker":          {m[:8] + m + " hello x\n", "hello", "x"},
		"no rest":                {m + " cached\n", "cached", ""},
		"across buffers":         {strings.Repeat("x", 64<<10-7) + m + " hello " + strings.Repeat("y", 1000) + "\n", "hello", strings.Repeat("y", 1000)},
		"marker without a space": {m + "\n" + m + " hello x\n", "hello", "x"},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			verb, rest, err := newScanner(bufio.NewReaderSize(r, 64<<10), m).next()
			if err != nil || verb != c.verb || rest != c.rest {
				t.Errorf("%s: %q %q %v", name, verb, rest, err)
			}
		}
	}
	for name, in := range map[string]string{
		"nothing":      "",
		"no marker":    "Welcome\n",
		"too much":     strings.Repeat("x", maxNoise+100<<10) + m + " hello x\n",
		"too long":     m + " hello " + strings.Repeat("x", 2*maxWord) + "\n",
		"not finished": m + " hello x",
	} {
		if verb, _, err := newScanner(bufio.NewReaderSize(strings.NewReader(in), 64<<10), m).next(); err == nil {
			t.Errorf("%s: %q", name, verb)
		}
	}
}

func TestProbePlatform(t *testing.T) {
	for line, want := range map[string]string{
		"Linux x86_64 6.1.0-1 bits=64 libc=glibc-2.36 gzip=1": "linux/amd64",
		"Linux x86_64 6.1.0-1 bits=32 libc=glibc-2.36 gzip=1": "linux/386",
		"Linux aarch64 6.1.0 bits=32 libc=musl-1.2.4 gzip=0":  "linux/armv6l",
		"Linux aarch64 6.1.0 bits=64 libc=none gzip=0":        "linux/arm64",
		"Linux armv7l 6.1.0 bits= libc= gzip=0 /run /tmp":     "linux/armv6l",
		"Linux mips64 2.6.32 bits=64 libc=glibc-2.19 gzip=1":  "",
		"FreeBSD amd64 14.1-RELEASE bits=64 libc=none gzip=1": "",
	} {
		p, _, _, err := parseProbe(line)
		got, ok := p.Platform()
		if err != nil || ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: %v %v %v", line, got, ok, err)
		}
	}
	for _, line := range []string{"", "Linux", "a b c d e f", "Linux x86_64 6.1 bits=64 libc=x"} {
		if p, _, _, err := parseProbe(line); err == nil {
			t.Errorf("%q: %+v", line, p)
		}
	}
}

func TestQuote(t *testing.T) {
	shells := [][]string{{"dash", "-c"}, {"bash", "-c"}, {"busybox", "sh", "-c"}, {"fish", "-c"}, {"tcsh", "-c"}, {"zsh", "-c"}}
	words := []string{"", "plain", `it's`, `a\b\\c\'`, "!x !! !$", "$HOME `id` $(id)", `"q"`, "a;b|c&d>e<f", "*?[x]~", "tab\there", "ü €"}
	for _, sh := range shells {
		if _, err := exec.LookPath(sh[0]); err != nil {
			t.Logf("%s is not installed", sh[0])
			continue
		}
		line, want := "printf %s,", ""
		for _, w := range words {
			q, err := quote(w)
			if err != nil {
				t.Fatal(err)
			}
			line += " " + q
			want += w + ","
		}
		out, err := exec.Command(sh[0], append(sh[1:], line)...).Output()
		if err != nil || string(out) != want {
			t.Errorf("%s: %q, want %q, %v", sh[0], out, want, err)
		}
	}
	for _, w := range []string{"a\nb", "a\x00b", "a\rb"} {
		if q, err := quote(w); err == nil {
			t.Errorf("%q becomes %q", w, q)
		}
	}
	for _, script := range []string{agentScript, becomeScript} {
		if i := strings.IndexAny(oneLine(script), "'\\!\n"); i >= 0 {
			t.Errorf("the script holds %q", oneLine(script)[i:])
		}
	}
}

func TestTailCountsAcrossReads(t *testing.T) {
	var counts []int
	tl := newTail("[prompt]", func(n int) { counts = append(counts, n) }, func() {})
	tl.read(iotest.OneByteReader(strings.NewReader("x[prom[prompt] no\n[prompt]\x1b[2J last\n" + strings.Repeat("y", 2*tailSize) + "\nend\n")))
	if len(counts) != 2 || counts[1] != 2 {
		t.Errorf("counts %v", counts)
	}
	if l := tl.lines(); len(l) != 1 || l[0] != "end" {
		t.Errorf("%d lines, the last one is %q", len(l), l[len(l)-1])
	}
}

func FuzzScanner(f *testing.F) {
	f.Add("Welcome\nMARK need Linux x86_64 6.1 bits=64 libc=glibc-2.36 gzip=1\n")
	f.Add("MARK hello {}\nMARK died 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := newScanner(bufio.NewReaderSize(strings.NewReader(text), 16), "MARK")
		for {
			verb, rest, err := s.next()
			if err != nil {
				break
			}
			if !strings.Contains(text, "MARK "+verb) {
				t.Errorf("%q is not behind a marker in %q", verb, text)
			}
			if p, _, _, err := parseProbe(rest); err == nil {
				if p.Machine != neutral(p.Machine) {
					t.Errorf("%q gets through", p.Machine)
				}
				if platform, ok := p.Platform(); ok {
					if _, err := spec.ParsePlatform(platform.String()); err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
}

func FuzzNeutral(f *testing.F) {
	f.Add("a\x1b[31m\u202eb\n")
	f.Fuzz(func(t *testing.T, s string) {
		n := neutral(s)
		if !utf8.ValidString(n) || strings.ContainsAny(n, "\n\r\x1b\x00\u202e") || len(n) > 2100 {
			t.Errorf("%q becomes %q", s, n)
		}
	})
}
