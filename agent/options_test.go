package agent

import (
	"slices"
	"strings"
	"testing"
)

func TestParseOptions(t *testing.T) {
	got, rest, err := parseOptions([]string{"--marker", "abc", "--cached", "--login-uid", "7", "--temp", "/run/x", "file", "--temp"}, 5)
	if want := (options{marker: "abc", loginUID: 7, temp: "/run/x", cached: true}); err != nil || got != want || !slices.Equal(rest, []string{"file", "--temp"}) {
		t.Errorf("got %+v, rest %q, %v; want %+v", got, rest, err, want)
	}
	if got, _, err := parseOptions(nil, 5); err != nil || got.loginUID != 5 {
		t.Errorf("nothing given: %+v, %v", got, err)
	}
	for args, says := range map[string]string{
		"--marker":          "--marker needs a value",
		"--login-uid seven": `"seven" is not a number`,
		"--frobnicate 1":    "--frobnicate is not known",
	} {
		if _, _, err := parseOptions(strings.Fields(args), 5); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", args, err, says)
		}
	}
}
