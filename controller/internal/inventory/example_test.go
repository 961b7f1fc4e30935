package inventory

import (
	"os"
	"testing"
)

// TestExample: the inventory that strangers begin with is right, for Ansible
// as well.
func TestExample(t *testing.T) {
	const root = "../../.."
	in := invocation{verb: "list", sources: []string{"inventory/example.yaml"}}
	inv, err := Load(t.Context(), Options{Sources: in.sources, Dir: root})
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := inv.Hosts("all", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		if h.Vars["gofleet_go_version"] == nil {
			t.Errorf("%s has no gofleet_go_version", h.Name)
		}
	}
	if len(hosts) != 10 || len(inv.Warnings()) > 0 {
		t.Errorf("%d hosts, warnings %q", len(hosts), inv.Warnings())
	}
	if os.Getenv("GOFLEET_ANSIBLE_INVENTORY") == "" {
		return
	}
	a := startAnsible(t)
	want := in.real(t, a, root)
	got, err := in.ours(t, root, a.dialect)
	check(t, "list", got, want.Stdout, err)
}
