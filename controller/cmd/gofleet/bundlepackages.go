package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/bundle"
)

// packages reads --packages and --distribution.
func (r *recipe) packages() ([]spec.Package, []bundle.Distribution, error) {
	if r.Packages != "" && len(r.Distribution) == 0 {
		return nil, nil, hint(errors.New("--packages needs to know the distributions of hosts"), "name them with --distribution, like --distribution debian-12,debian-13")
	}
	var all []bundle.Distribution
	resolves := false
	for _, text := range r.Distribution {
		name, dir, isDir := strings.Cut(text, "=")
		switch id, version, ok := strings.Cut(name, "-"); {
		case !ok || id == "" || version == "" || isDir && dir == "" || strings.ContainsAny(name, "/ "):
			return nil, nil, hint(fmt.Errorf("--distribution %s is not a distribution", text), "write ID and VERSION_ID of a host's /etc/os-release, like debian-12, or with a directory of rpms rocky-9=rpms/")
		case !isDir && !slices.Contains(bundle.Resolvable(), name):
			return nil, nil, hint(fmt.Errorf("--distribution %s is none of those that apt resolves: %s", name, strings.Join(bundle.Resolvable(), ", ")),
				"of rpms, give a directory that has all that is needed: --distribution "+name+"=DIR")
		}
		resolves = resolves || !isDir
		all = append(all, bundle.Distribution{Name: name, Dir: dir})
	}
	if !resolves {
		return nil, all, nil
	}
	if r.Packages == "" {
		return nil, nil, hint(errors.New("--distribution needs to know the packages"), "name a file with a list of them with --packages")
	}
	packages, err := readPackages(r.Packages)
	return packages, all, err
}

// readPackages reads a file with a list as that of gofleet_packages, or with
// that variable.
func readPackages(file string) ([]spec.Package, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--packages: %w", err)
	}
	const example = "write a list, like [gcc, g++], or gofleet_packages: [gcc, g++]"
	var content any
	if err := yaml.Unmarshal(text, &content); err != nil {
		return nil, hint(fmt.Errorf("--packages: %s: %w", file, err), example)
	}
	if vars, ok := content.(map[string]any); ok {
		content = vars[prefix+"packages"]
	}
	s, err := spec.Parse(map[string]any{prefix + "packages": content}, spec.Options{Prefix: prefix, Evaluated: true})
	if err == nil && len(s.Packages) == 0 {
		err = hint(errors.New("there are no packages in it"), example)
	}
	if err != nil {
		return nil, fmt.Errorf("--packages: %s: %w", file, err)
	}
	return s.Packages, nil
}
