package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
)

// platformOf reads for which platform a program is from its name, which ends
// like gofleet-linux-arm64 or gofleet-windows-amd64.exe.
func platformOf(file string) (spec.Platform, error) {
	words := strings.Split(strings.TrimSuffix(filepath.Base(file), ".exe"), "-")
	if len(words) >= 3 {
		p, err := spec.ParsePlatform(strings.Join(words[len(words)-2:], "/"))
		if err == nil {
			return p, nil
		}
	}
	return spec.Platform{}, hint(fmt.Errorf("--gofleet: %s does not say for which platform it is", file), "name it like gofleet-linux-arm64")
}
