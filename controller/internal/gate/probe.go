package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// maxOutput is how much of what a gate says is kept: the end of a command's
// output, the beginning of an answer.
const maxOutput = 4 << 10

// run runs the command in a shell. Its output is shown only when it fails.
func (g Gate) run(ctx context.Context, b Batch) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", g.command)
	cmd.Env = append(os.Environ(),
		"GOFLEET_RUN="+b.Run,
		fmt.Sprintf("GOFLEET_BATCH=%d", b.Number),
		fmt.Sprintf("GOFLEET_BATCHES=%d", b.Of),
		"GOFLEET_HOSTS_FILE="+b.HostsFile,
	)
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	ownGroup(cmd)
	cmd.WaitDelay = time.Second // a child that it left behind does not hold us,
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) { // nor does it make a no of a yes
		return nil
	}
	return withOutput(err, said.String())
}

// get asks for the address and wants an answer with 2xx.
func (g Gate) get(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url.String(), nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	answer, err := (&http.Client{Transport: transport}).Do(req)
	var repeats *url.Error // of the address, which the gate's name is
	if errors.As(err, &repeats) {
		err = repeats.Err
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxOutput))
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return nil
	}
	if err != nil {
		body = nil
	}
	return withOutput(fmt.Errorf("answered %s", answer.Status), string(body))
}

func withOutput(err error, output string) error {
	if output = strings.TrimSpace(output); output == "" {
		return err
	}
	return fmt.Errorf("%w\n%s", err, output)
}

// tail keeps the last maxOutput bytes that are written to it.
type tail struct {
	kept []byte
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - maxOutput; over > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[over:]...), true
	}
	return len(p), nil
}

func (t *tail) String() string {
	if t.cut {
		return "…" + strings.ToValidUTF8(string(t.kept), "")
	}
	return string(t.kept)
}
