package spec

import "slices"

// What hosts of a group can be compared by, for gofleet_uniform.
const (
	UniformDistribution = "distribution"
	UniformKernel       = "kernel"
	UniformGlibc        = "glibc"
	UniformZone         = "zone"
)

var uniformFacts = []string{UniformDistribution, UniformKernel, UniformGlibc, UniformZone}

// uniform reads gofleet_uniform, each once and in the order of uniformFacts.
func (n *node) uniform() []string {
	const example = "write a list, like [distribution, kernel, glibc, zone]"
	if _, text := n.v.(string); text && !n.p.o.Lenient {
		n.fail(example, "must be a list, not text")
		return nil
	}
	items, _ := n.list(example)
	var given []string
	for _, item := range items {
		if fact, ok := item.choice(uniformFacts...); ok {
			given = append(given, fact)
		}
	}
	if len(given) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(uniformFacts), func(f string) bool { return !slices.Contains(given, f) })
}
