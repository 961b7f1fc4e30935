package release

import (
	"slices"
	"strings"
	"testing"
)

func TestBuiltinTable(t *testing.T) {
	table := BuiltinTable()
	if len(table) < 2672 {
		t.Errorf("the table has %d sums", len(table))
	}
	const want = "979694c2c25c735755bf26f4f45e19e64e4811d661dd07b8c010f7a8e18adfca"
	if got := table["go1.20.3.linux-amd64.tar.gz"]; got != want {
		t.Errorf("go1.20.3.linux-amd64.tar.gz has %s, want %s", got, want)
	}
	for name, sum := range table {
		if !isSHA256(sum) {
			t.Errorf("%s has no sum", name)
		}
	}
	if got := table.Platforms("1.20.3"); slices.Contains(got, "linux/riscv64") || !slices.Contains(got, "linux/s390x") {
		t.Errorf("1.20.3 was released for %v", got)
	}
}

func TestParseTable(t *testing.T) {
	sum := strings.Repeat("0f", 32)
	for _, c := range []struct{ text, err string }{
		{sum + "  go1.2.2.linux-amd64.tar.gz\n", ""},
		{"  go1.2.2.linux-amd64.tar.gz\n", ""},
		{sum + " go1.2.2.linux-amd64.tar.gz\n", "line 1"},
		{sum[1:] + "  go1.2.2.linux-amd64.tar.gz\n", "is not a sha256"},
		{strings.ToUpper(sum) + "  go1.2.2.linux-amd64.tar.gz\n", "is not a sha256"},
		{sum + "  ../go1.2.2.linux-amd64.tar.gz\n", "is not the name"},
		{sum + "  go1.2.2.linux-amd64.tar.gz\n  go1.2.2.linux-amd64.tar.gz\n", "line 2: go1.2.2.linux-amd64.tar.gz has two sums"},
	} {
		_, err := ParseTable(strings.NewReader(c.text))
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("ParseTable(%q): %v, want %q", c.text, err, c.err)
		}
	}
}
