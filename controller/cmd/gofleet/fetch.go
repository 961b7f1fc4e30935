package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/release"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// fetchCommand gets archives on the connected side.
func (a *app) fetchCommand() *cobra.Command {
	var platforms []string
	var from string
	o := release.FetchOptions{}
	cmd := &cobra.Command{
		Use:   "fetch VERSION [flags]",
		Short: "get archives on the connected side, verified",
		Long: `fetch gets a Go release for one or several platforms and leaves in the directory
only what is proved authentic: the official archive from go.dev or a mirror,
by its sha256 and signature; or, from a GOPROXY, the toolchain module, proved by
the Go checksum database and kept with that proof beside it.

An interrupted fetch goes on where it stopped. What is there already and
verifies is not fetched again.`,
		Example: `  gofleet fetch 1.26.8 --platform linux/amd64,linux/arm64 --to archives
  gofleet fetch 1.26 --to archives            # the newest patch of 1.26
  gofleet fetch 1.26.8 --from proxy           # through GOPROXY, by the checksum database
  gofleet fetch 1.26.8 --mirror https://mirror.corp/golang`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ui, err := a.reporter()
			if err != nil {
				return err
			}
			o.Version, o.Source = args[0], from
			for _, s := range platforms {
				p, err := spec.ParsePlatform(s)
				if err != nil {
					return fmt.Errorf("--platform: %w", err)
				}
				o.Platforms = append(o.Platforms, p)
			}
			if o.Proxy == "" {
				o.Proxy = goEnv("GOPROXY")
			}
			o.Progress = progress(ui)
			ui.Start()
			result, err := release.Fetch(cmd.Context(), o)
			ui.Stop()
			if printErr := a.printFetched(result); printErr != nil {
				return printErr
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&platforms, "platform", []string{"linux/amd64"}, "platforms, separated by commas")
	f.StringVar(&o.To, "to", ".", "`directory` to put the archives into")
	f.StringVar(&from, "from", release.FromAuto, "auto (go.dev, else the module proxy), go.dev or proxy")
	f.StringArrayVar(&o.Mirrors, "mirror", nil, "`URL` that has official archives, instead of go.dev's; repeats, tried in order")
	f.StringVar(&o.Proxy, "proxy", "", "module proxies, written as GOPROXY is; GOPROXY if not given")
	a.addOutput(cmd, "text", "json")
	complete(cmd, "platform", completePlatforms)
	complete(cmd, "from", words(release.FromAuto, release.FromGoDev, release.FromProxy))
	complete(cmd, "mirror", noFiles)
	complete(cmd, "proxy", noFiles)
	cmd.MarkFlagDirname("to")
	cmd.ValidArgsFunction = noFiles
	return cmd
}

// printFetched says what is in the directory now.
func (a *app) printFetched(r release.FetchResult) error {
	if a.output.format == "json" {
		return a.printJSON("gofleet.fetch/v1", r)
	}
	for _, f := range r.Files {
		source := "from " + f.Source
		if f.Source == "" {
			source = "there already"
		}
		if _, err := fmt.Fprintf(a.stdout, "%s  %s, %s\n  sha256 %s\n  %s\n",
			f.Path, spec.FormatSize(f.Size), source, f.SHA256, f.Evidence); err != nil {
			return err
		}
	}
	return nil
}

// printJSON writes v with its schema as the first field.
func (a *app) printJSON(schema string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "{\n  \"schema\": %q,%s\n", schema, b[1:])
	return err
}

// reporter is the terminal for commands without hosts.
func (a *app) reporter() (*report.Reporter, error) {
	return report.New(report.Options{Stdout: a.stdout, Stderr: a.stderr, Look: a.look(), Verbose: a.output.verbose})
}

// progress shows a release's long work on the terminal.
func progress(ui *report.Reporter) release.Progress {
	return func(label string) release.Work { return ui.Progress(label) }
}

// goEnv is a setting of the go command: from the environment, or, if there is
// a go, what `go env -w` has set or its default; else "".
func goEnv(name string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
