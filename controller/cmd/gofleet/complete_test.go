package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// completions asks as a shell does and returns the answers without the
// directive.
func completions(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	root := newApp(nil, out, null, nil).command()
	root.SetArgs(append([]string{"__completeNoDesc"}, args...))
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[:len(lines)-1]
}

func TestCompletion(t *testing.T) {
	inv := filepath.Join(t.TempDir(), "hosts.yaml")
	if err := os.WriteFile(inv, []byte("web:\n  hosts:\n    web[1:2]:\ndb:\n  hosts:\n    db1:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"aud"}, "audit"},
		{[]string{"apply", "-i", inv, "--limit", ""}, "db db1 web web1 web2"},
		{[]string{"apply", "-i", inv, "-l", "w"}, "web web1 web2"},
		{[]string{"apply", "-i", inv, "-l", "web:!web2,d"}, "web:!web2,db web:!web2,db1"},
		{[]string{"audit", "-l", ""}, ""},
		{[]string{"audit", "-i", "/nowhere", "-l", ""}, ""},
		{[]string{"inventory", "-i", inv, "--host", ""}, "db1 web1 web2"},
		{[]string{"apply", "-o", ""}, "text json jsonl"},
		{[]string{"verify", "-o", ""}, "text json"},
		{[]string{"apply", "--encoding", ""}, "auto gzip zstd"},
		{[]string{"apply", "--uploads", ""}, "auto"},
		{[]string{"rollback", "--uploads"}, ""},
		{[]string{"fetch", "--from", ""}, "auto go.dev proxy"},
		{[]string{"rollback", "--to", ""}, ""},
		{[]string{"apply", ""}, ""},
	} {
		if got := strings.Join(completions(t, test.args...), " "); got != test.want {
			t.Errorf("%q: got %q, want %q", test.args, got, test.want)
		}
	}
}
