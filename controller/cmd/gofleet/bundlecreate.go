package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/gofleet/gofleet/agent"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/agents"
	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/minisign"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// recipe is what a bundle is to hold, from flags or a file of the same names.
type recipe struct {
	Go           []string `yaml:"go"`
	Platform     []string `yaml:"platform"`
	Modules      []string `yaml:"modules"`
	Packages     string   `yaml:"packages"`
	Distribution []string `yaml:"distribution"`
	AptMirror    string   `yaml:"apt-mirror"`
	Gofleet      []string `yaml:"gofleet"`
	Collection   string   `yaml:"collection"`
	Output       string   `yaml:"output"`
	Split        string   `yaml:"split"`
	Archives     string   `yaml:"archives"`
	From         string   `yaml:"from"`
	Mirror       []string `yaml:"mirror"`
	Proxy        string   `yaml:"proxy"`
	Key          string   `yaml:"key"`
}

func (a *app) bundleCreateCommand() *cobra.Command {
	var r recipe
	cmd := &cobra.Command{
		Use:   "create [bundle.yaml] -o FILE|DIR [flags]",
		Short: "make a bundle on the connected side",
		Long: `create makes a bundle of Go releases for platforms, with the evidence for each,
of this gofleet and its agents, and signs it; with --modules also all modules
that a project needs to be built and tested, fetched with your go command, its
settings and your credentials, and proved by the checksum database.

--packages names a file with what hosts have in gofleet_packages, and
--distribution their distributions. This machine's apt resolves what a clean
release lacks for them, in a root of its own, from the archive that it is
configured with, and checks every signature with the distribution's keyring. Of
other distributions, NAME=DIR takes the rpms of a directory, which hosts check
with their own keys.

-o names a file, or a directory if it is one or ends in a slash. The same content
gives the same bytes.

What is wanted stands in flags, or in a file whose keys are the flags' names;
flags come first. Archives are kept in a directory, the user's cache unless told
otherwise: what an interrupted create has fetched is there for the next one.

The first create makes a key, bundle.key in gofleet's config directory; this user
trusts it. Others trust bundle.pub, which lies beside it, by gofleet_trusted_keys.`,
		Example: `  gofleet bundle create --go 1.26.8,1.25.14 --platform linux/arm64 -o site.bundle
  gofleet bundle create --go 1.26 --platform linux/amd64,darwin/arm64 -o site/
  gofleet bundle create --go 1.26.8 --split 4GB -o site.bundle
  gofleet bundle create --go 1.26.8 --modules app/go.mod -o site.bundle
  gofleet bundle create --go 1.26 --packages apt.yaml --distribution debian-12 -o site/
  gofleet bundle create bundle.yaml`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if err := r.read(cmd, args[0]); err != nil {
					return err
				}
			}
			return a.createBundle(cmd, &r)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&r.Go, "go", nil, "Go `versions`, separated by commas; 1.26 is its newest patch")
	f.StringSliceVar(&r.Platform, "platform", []string{"linux/amd64"}, "platforms, separated by commas")
	f.StringSliceVar(&r.Modules, "modules", nil, "go.mod `files` of projects to build inside; their modules come along")
	f.StringVar(&r.Packages, "packages", "", "`file` with packages, as gofleet_packages has them, for --distribution")
	f.StringSliceVar(&r.Distribution, "distribution", nil, "`names` such as debian-12, separated by commas; NAME=DIR takes the rpms of a directory")
	f.StringVar(&r.AptMirror, "apt-mirror", "", "`URL` of the distributions' archive; what this machine's apt uses if not given")
	f.StringSliceVar(&r.Gofleet, "gofleet", nil, "further `programs`: gofleet for other platforms, in files named like gofleet-linux-arm64")
	f.StringVar(&r.Collection, "collection", "", "the Ansible collection's tarball: a `file`")
	f.StringVarP(&r.Output, "output", "o", "", "`file` or directory to make")
	f.StringVar(&r.Split, "split", "", "parts of this `size`, such as 4GB: FILE.part001 and so on")
	f.StringVar(&r.Archives, "archives", "", "`directory` that has archives, and gets those that are fetched")
	f.StringVar(&r.From, "from", release.FromAuto, "auto (go.dev, else the module proxy), go.dev or proxy")
	f.StringArrayVar(&r.Mirror, "mirror", nil, "`URL` that has official archives, instead of go.dev's; repeats, tried in order")
	f.StringVar(&r.Proxy, "proxy", "", "module proxies, written as GOPROXY is; GOPROXY if not given")
	f.StringVar(&r.Key, "key", "", "secret key `file` to sign with, as of minisign -G -W; bundle.key in the config directory if not given")
	complete(cmd, "go", noFiles)
	complete(cmd, "split", noFiles)
	complete(cmd, "platform", completePlatforms)
	complete(cmd, "from", words(release.FromAuto, release.FromGoDev, release.FromProxy))
	complete(cmd, "distribution", words(bundle.Resolvable()...))
	complete(cmd, "apt-mirror", noFiles)
	complete(cmd, "mirror", noFiles)
	complete(cmd, "proxy", noFiles)
	cmd.MarkFlagDirname("archives")
	return cmd
}

// read takes from a file what no flag says. Its paths start where it lies.
func (r *recipe) read(cmd *cobra.Command, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var from recipe
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&from); err != nil && !errors.Is(err, io.EOF) {
		return hint(fmt.Errorf("%s: %w", file, err), "its keys are the names of the flags of gofleet bundle create")
	}
	dir := filepath.Dir(file)
	at := func(p string) string { // "" stays, and a slash at the end
		if p == "" {
			return p
		}
		slash := isDirectory(p)
		if p = resolve(p, dir); slash {
			p += string(filepath.Separator)
		}
		return p
	}
	for i := range from.Gofleet {
		from.Gofleet[i] = at(from.Gofleet[i])
	}
	for i := range from.Modules {
		from.Modules[i] = at(from.Modules[i])
	}
	for i, d := range from.Distribution {
		if name, rpms, ok := strings.Cut(d, "="); ok {
			from.Distribution[i] = name + "=" + at(rpms)
		}
	}
	from.Packages = at(from.Packages)
	from.Collection, from.Output, from.Archives, from.Key = at(from.Collection), at(from.Output), at(from.Archives), at(from.Key)
	list := func(flag string, to *[]string, value []string) {
		if !cmd.Flags().Changed(flag) && value != nil {
			*to = value
		}
	}
	word := func(flag string, to *string, value string) {
		if !cmd.Flags().Changed(flag) && value != "" {
			*to = value
		}
	}
	list("go", &r.Go, from.Go)
	list("platform", &r.Platform, from.Platform)
	list("modules", &r.Modules, from.Modules)
	list("distribution", &r.Distribution, from.Distribution)
	list("gofleet", &r.Gofleet, from.Gofleet)
	list("mirror", &r.Mirror, from.Mirror)
	word("packages", &r.Packages, from.Packages)
	word("apt-mirror", &r.AptMirror, from.AptMirror)
	word("collection", &r.Collection, from.Collection)
	word("output", &r.Output, from.Output)
	word("split", &r.Split, from.Split)
	word("archives", &r.Archives, from.Archives)
	word("from", &r.From, from.From)
	word("proxy", &r.Proxy, from.Proxy)
	word("key", &r.Key, from.Key)
	return nil
}

// createBundle makes what the recipe says.
func (a *app) createBundle(cmd *cobra.Command, r *recipe) error {
	o, err := r.options()
	if err != nil {
		return err
	}
	ui, err := a.reporter()
	if err != nil {
		return err
	}
	key, err := r.signingKey(func(text string) { ui.Warn("", text) })
	if err != nil {
		return err
	}
	o.Key, o.Fetch.Progress = &key, progress(ui)
	o.Warn = func(text string) { ui.Warn("", text) }
	ui.Start()
	made, err := bundle.Create(cmd.Context(), o)
	ui.Stop()
	if err != nil {
		return err
	}
	what := ""
	if made.Parts > 0 {
		what = fmt.Sprintf(" in %d parts", made.Parts)
	}
	_, err = fmt.Fprintf(a.stdout, "%s%s: %d files, %s, written at %s/s\n  signed by %s; others trust it by\n  gofleet_trusted_keys: [%s]\n",
		made.Path, what, made.Files, spec.FormatSize(made.Size), spec.FormatSize(int64(float64(made.Size)/max(made.Seconds, 0.001))),
		key.Public().ID, key.Public())
	return err
}

// options are those that the recipe gives.
func (r *recipe) options() (bundle.CreateOptions, error) {
	o := bundle.CreateOptions{Output: r.Output, Versions: r.Go, Archives: r.Archives, MadeBy: agent.Version}
	if r.Output == "" {
		return o, hint(errors.New("gofleet bundle create needs to know what to make"), "name a file or a directory with -o, like -o site.bundle")
	}
	o.Directory = isDirectory(r.Output)
	var err error
	if o.Split, err = sizeOf(r.Split); err != nil {
		return o, err
	}
	if o.Split > 0 && o.Directory {
		return o, hint(fmt.Errorf("--split: %s is a directory", r.Output), "only a bundle that is a file has parts")
	}
	for _, text := range r.Platform {
		p, err := spec.ParsePlatform(text)
		if err != nil {
			return o, fmt.Errorf("--platform: %w", err)
		}
		o.Platforms = append(o.Platforms, p)
	}
	cache, err := release.CacheDir("")
	if err != nil {
		return o, err
	}
	if o.Archives == "" {
		o.Archives = filepath.Join(cache, "bundle", "archives")
	}
	o.Modules, o.ModCache = r.Modules, filepath.Join(cache, "bundle", "mod")
	o.Fetch = release.FetchOptions{Source: r.From, Mirrors: r.Mirror, Proxy: r.Proxy}
	if r.Proxy == "" {
		o.Fetch.Proxy = goEnv("GOPROXY")
	}
	o.PackageMirror, o.PackageCache = r.AptMirror, filepath.Join(cache, "bundle", "packages")
	if o.Packages, o.Distributions, err = r.packages(); err != nil {
		return o, err
	}
	o.Extra, err = r.programs()
	return o, err
}

// signingKey is the one that the recipe names, or the user's own.
func (r *recipe) signingKey(say func(text string)) (minisign.SecretKey, error) {
	if r.Key != "" {
		return bundle.ReadKey(r.Key)
	}
	dir, err := bundle.ConfigDir()
	if err != nil {
		return minisign.SecretKey{}, err
	}
	key, made, err := bundle.OwnKey(dir)
	if made {
		say(fmt.Sprintf("made a key to sign bundles with: %s; keep it to yourself", filepath.Join(dir, "bundle.key")))
	}
	return key, err
}

// programs are this gofleet, those for other platforms, the agents that are in
// it, and the collection.
func (r *recipe) programs() ([]bundle.Source, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	here := spec.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}
	own, err := bundle.Program(self, "gofleet", here)
	if err != nil {
		return nil, err
	}
	all := []bundle.Source{own}
	for _, file := range r.Gofleet {
		p, err := platformOf(file)
		if err != nil {
			return nil, err
		}
		s, err := bundle.Program(file, "gofleet", p)
		if err != nil {
			return nil, fmt.Errorf("--gofleet: %w", err)
		}
		all = slices.DeleteFunc(all, func(have bundle.Source) bool { return have.Path == s.Path })
		all = append(all, s)
	}
	if r.Collection != "" {
		s, err := bundle.Collection(r.Collection)
		if err != nil {
			return nil, fmt.Errorf("--collection: %w", err)
		}
		all = append(all, s)
	}
	inside, err := agentSources()
	return append(all, inside...), err
}

// agentSources are the agents that are embedded here. A gofleet without any
// makes bundles without any.
func agentSources() ([]bundle.Source, error) {
	set, err := agents.Load()
	if errors.Is(err, agents.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []bundle.Source
	for _, p := range set.Platforms() {
		z, err := gzip.NewReader(bytes.NewReader(set[p].Gzip))
		if err != nil {
			return nil, fmt.Errorf("agent for %s: %w", p, err)
		}
		program, err := io.ReadAll(io.LimitReader(z, set[p].Size+1))
		if err != nil {
			return nil, fmt.Errorf("agent for %s: %w", p, err)
		}
		s := bundle.BytesSource(bundle.AgentsDir+"/gofleet-agent-"+p.Dashed(), 0o755, program)
		s.SHA256 = set[p].SHA256
		all = append(all, s)
	}
	return all, nil
}
