package gate

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func parse(t *testing.T, text string) Gate {
	t.Helper()
	g, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestCommandIsToldOfTheBatch(t *testing.T) {
	dir := t.TempDir()
	hosts := filepath.Join(dir, "hosts")
	if err := os.WriteFile(hosts, []byte("web1\nweb2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	g := parse(t, `echo "$GOFLEET_RUN $GOFLEET_BATCH/$GOFLEET_BATCHES" $(cat "$GOFLEET_HOSTS_FILE") > `+out)
	if err := g.Ask(context.Background(), Batch{Run: "r1", Number: 2, Of: 3, HostsFile: hosts}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b); got != "r1 2/3 web1 web2\n" {
		t.Errorf("the command was told %q", got)
	}
}

func TestFailureShowsTheEndOfTheOutput(t *testing.T) {
	err := parse(t, `head -c 100000 /dev/zero | tr '\0' x; echo the end >&2; exit 3`).Ask(context.Background(), Batch{})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.HasSuffix(err.Error(), "the end") {
		t.Fatalf("error %v", err)
	}
	if n := len(err.Error()); n > maxOutput+200 {
		t.Errorf("the error has %d bytes", n)
	}
}

func TestTimeoutEndsTheCommandAndWhatItStarted(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	g := parse(t, fmt.Sprintf(`sleep 600 & echo $! > %s; wait`, pid))
	g.Timeout = 2 * time.Second
	err := g.Ask(context.Background(), Batch{})
	if err == nil || !strings.Contains(err.Error(), "no answer within 2s") {
		t.Fatalf("error %v", err)
	}
	b, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 { // it is killed, and its new parent has to notice
		state, err := os.ReadFile("/proc/" + strings.TrimSpace(string(b)) + "/stat")
		if err != nil || strings.Contains(string(state), ") Z") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a child of the gate is alive")
}

// A gate that starts something and ends well has said yes, though that holds
// its output open.
func TestWhatAGateLeavesBehindIsNoFailure(t *testing.T) {
	g := parse(t, `sleep 5 & exit 0`)
	if err := g.Ask(context.Background(), Batch{}); err != nil {
		t.Error(err)
	}
	if err := parse(t, `sleep 5 & exit 3`).Ask(context.Background(), Batch{}); err == nil {
		t.Error("exit code 3 is a yes")
	}
}

func TestRetries(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	g := parse(t, `echo >> `+count+`; test $(wc -l < `+count+`) -ge 3`)
	g.Retries = 1
	if err := g.Ask(context.Background(), Batch{}); err == nil {
		t.Error("two tries were enough for three")
	}
	if err := os.Remove(count); err != nil {
		t.Fatal(err)
	}
	g.Retries = 2
	if err := g.Ask(context.Background(), Batch{}); err != nil {
		t.Error(err)
	}
}

func TestAddress(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 1:
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer s.Close()
	g := parse(t, s.URL+"/ready")
	err := g.Ask(context.Background(), Batch{})
	if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("error %v", err)
	}
	if err := g.Ask(context.Background(), Batch{}); err != nil {
		t.Error(err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{" ", "https://", "https://user:secret@example.net/", "http://%zz"} {
		if g, err := Parse(text); err == nil {
			t.Errorf("%q is the gate %v", text, g)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error has the password: %v", text, err)
		}
	}
}
