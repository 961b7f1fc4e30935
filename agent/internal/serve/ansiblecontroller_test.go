package serve

import (
	"strings"
	"testing"
)

func TestQuestions(t *testing.T) {
	for arguments, want := range map[string]string{
		`{"go_version":"1.26.8","sha256":{"linux-x86_64":"` + strings.Repeat("0", 64) + `"}}`: `{"archives":[` +
			`{"version":"1.26.8","platform":"linux/amd64","names":["go1.26.8.linux-amd64.tar.gz","go1.26.8.linux-amd64.module.tar.gz"],"archives":"../archives","sha256":"` + strings.Repeat("0", 64) + `"},` +
			`{"version":"1.26.8","platform":"linux/arm64","names":["go1.26.8.linux-arm64.tar.gz","go1.26.8.linux-arm64.module.tar.gz"],"archives":"../archives"}]}`,
		`{"gofleet_go_version":"1.26.8","gofleet_archives":"x","gofleet_preconditions":{"arch":["riscv64"]},"_gofleet":{"prefix":"gofleet_"}}`: `{"archives":[` +
			`{"version":"1.26.8","platform":"linux/riscv64","names":["go1.26.8.linux-riscv64.tar.gz","go1.26.8.linux-riscv64.module.tar.gz"],"archives":"x"}]}`,
		`{"info":true,"modules":{"from":"x.bundle","private":["corp.example"]},"trusted_keys":["site.pub"],"user":{"name":"deploy"},"gopath":{"sources":"old"}}`: `{"archives":[],"files":[` +
			`{"part":"modules","from":"x.bundle","trusted_keys":["site.pub"],"env":{"GONOSUMDB":"corp.example","GOSUMDB":"sum.golang.org"}},{"part":"gopath","from":"old"}]}`,
		`{"state":"absent","modules":"x.bundle"}`: `{"archives":[]}`,
		`{"state":"absent"}`:                      `{"archives":[]}`,
		`{"state":"rolled_back"}`:                 `{"archives":[]}`,
		`{"info":true}`:                           `{"archives":[]}`,
	} {
		var out strings.Builder
		if err := Questions(strings.NewReader(arguments), []string{"linux/amd64", "linux/arm64", "linux/riscv64"}, &out); err != nil || out.String() != want+"\n" {
			t.Errorf("%s: %v\n got %s\nwant %s", arguments, err, out.String(), want)
		}
	}
	var out strings.Builder
	if err := Questions(strings.NewReader(`{"keep":500}`), nil, &out); err != nil || !strings.Contains(out.String(), `"failed":true`) || !strings.Contains(out.String(), "keep: is 500") {
		t.Errorf("wrong arguments: %v, %s", err, out.String())
	}
	out.Reset()
	if err := Questions(strings.NewReader(`{"keeep":2,"rooot":"/x","keep":500,"go_version":"1.26.8"}`), nil, &out); err != nil || !strings.Contains(out.String(), "did you mean keep? keep: is 500; it must be from 0 to 100. rooot: ") {
		t.Errorf("three errors: %v, %s", err, out.String())
	}
	if err := Questions(strings.NewReader(`{"go_version":"1.26.8"}`), []string{"vax"}, &out); err == nil {
		t.Error("vax is a platform")
	}
}
