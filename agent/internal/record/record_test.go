package record

import "testing"

// TestParseNull: a null where something of gofleet's should be described, as a
// damaged file may have it, is nothing, and no agent ends by it.
func TestParseNull(t *testing.T) {
	const nulls = `{"format": 1, "users": {"a": null}, "doing_users": {"a": null}, "user_env": {"a": null},
		"doing_env": {"a": null}, "directories": {"a": null}, "services": {"a": null}}`
	r, err := Parse([]byte(nulls), "host.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"format\": 1\n}\n"; string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}
