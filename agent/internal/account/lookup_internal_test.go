package account

import "testing"

func TestFilesFirst(t *testing.T) {
	const rest = "passwd: files sss\nshadow: db files\n"
	for conf, want := range map[string]bool{
		"":                                      false, // glibc's own default differs between versions
		rest:                                    false,
		"group: files\n":                        true,
		rest + "group:\tfiles systemd # ours\n": true,
		"group: files [SUCCESS=merge] systemd":  true,
		"group: files [SUCCESS=continue] sss":   false,
		"group: sss files":                      false,
		"group: compat":                         false,
		"group:":                                false,
		"# group: files":                        false,
	} {
		if got := filesFirst(conf, "group"); got != want {
			t.Errorf("%q: %v, want %v", conf, got, want)
		}
	}
}
