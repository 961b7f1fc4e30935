package bundle

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"

	"github.com/gofleet/gofleet/controller/internal/release"
)

// gathered are the modules that go into a bundle.
type gathered struct {
	files   map[string]string       // path below ModulesDir to file on this machine
	zips    map[module.Version]bool // whose content is wanted
	mods    map[module.Version]bool // of which at least the go.mod is
	private string                  // patterns of what the checksum database is not asked about
	sums    map[string]string       // "path version" and "path version/go.mod" to h1, as in go.sum
	logged  map[string]string       // the same, as the checksum database has recorded it
}

// gather lets the go command download what is needed to build and test the
// main modules of the go.mod files, with the user's settings and credentials.
// Nothing beside the go.mod files changes: go works on copies of them.
func (o *CreateOptions) gather(ctx context.Context) (*gathered, error) {
	g := &gathered{files: map[string]string{}, zips: map[module.Version]bool{}, mods: map[module.Version]bool{}, sums: map[string]string{}}
	for _, file := range o.Modules {
		if st, err := os.Stat(file); err == nil && st.IsDir() {
			file = filepath.Join(file, "go.mod")
		}
		if here, err := vendoredFile(file); err != nil {
			o.warn(err.Error() + ": go mod vendor makes it anew; its modules come along")
		} else if here {
			o.warn(file + " has its modules in vendor/: it needs no module cache, and none comes along for it")
			continue
		}
		work := beginWork(o.Fetch.Progress, "download modules of "+file)
		err := g.add(ctx, file, o.ModCache)
		work.End(err)
		if err != nil {
			return nil, fmt.Errorf("modules of %s: %w", file, err)
		}
	}
	return g, nil
}

// warn tells what does not keep a bundle from being made.
func (o *CreateOptions) warn(text string) {
	if o.Warn != nil {
		o.Warn(text)
	}
}

// vendoredFile is vendored for a go.mod that is not read yet. One that cannot
// be read is for the go command to refuse.
func vendoredFile(file string) (bool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return false, nil
	}
	mod, err := modfile.Parse(file, text, nil)
	if err != nil {
		return false, nil
	}
	return vendored(file, mod)
}

// add gathers for one go.mod.
func (g *gathered) add(ctx context.Context, file, cache string) error {
	tmp, err := os.MkdirTemp("", "gofleet-mod-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "go.mod"), text, 0o644); err != nil {
		return err
	}
	sum, err := os.ReadFile(strings.TrimSuffix(file, ".mod") + ".sum")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "go.sum"), sum, 0o644); err != nil {
		return err
	}
	run := &goCommand{dir: filepath.Dir(file), env: []string{
		"GOWORK=off", "GOMODCACHE=" + cache,
		"GOFLAGS=-mod=mod -modcacherw '-modfile=" + filepath.Join(tmp, "go.mod") + "'",
	}}
	out, err := run.output(ctx, "mod", "download", "-json")
	if err != nil && len(out) == 0 {
		return err
	}
	if wrong := g.downloaded(out); wrong != nil || err != nil {
		return cmp.Or(wrong, err)
	}
	// The whole graph, as `go mod tidy` wants to see it, and what `go list -m all`
	// asks about the versions in it that are selected.
	if _, err := run.output(ctx, "mod", "graph"); err != nil {
		return err
	}
	selected, err := run.output(ctx, "list", "-m", "-e", "-f", "{{with .Replace}}{{.Path}} {{.Version}}{{else}}{{.Path}} {{.Version}}{{end}}", "all")
	if err != nil {
		return err
	}
	private, err := run.output(ctx, "env", "GONOSUMDB")
	if err != nil {
		return err
	}
	g.private = strings.Trim(g.private+","+strings.TrimSpace(string(private)), ",")
	if sum, err = os.ReadFile(filepath.Join(tmp, "go.sum")); err != nil {
		return err
	}
	download := filepath.Join(cache, "cache", "download")
	if err := g.graph(sum, download); err != nil {
		return err
	}
	return g.infos(selected, download)
}

// downloaded reads what `go mod download -json` says.
func (g *gathered) downloaded(out []byte) error {
	d := json.NewDecoder(bytes.NewReader(out))
	for {
		var m struct{ Path, Version, Info, GoMod, Zip, Sum, GoModSum, Error string }
		err := d.Decode(&m)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what go says: %w", err)
		}
		if m.Error != "" {
			return fmt.Errorf("%s@%s: %s", m.Path, m.Version, m.Error)
		}
		v := module.Version{Path: m.Path, Version: m.Version}
		g.zips[v], g.mods[v] = true, true
		g.sums[m.Path+" "+m.Version], g.sums[m.Path+" "+m.Version+"/go.mod"] = m.Sum, m.GoModSum
		for suffix, file := range map[string]string{".info": m.Info, ".mod": m.GoMod, ".zip": m.Zip} {
			if err := g.file(v, suffix, file); err != nil {
				return err
			}
		}
	}
}

// graph adds the go.mod files that go.sum names. What else the cache may have
// of these modules, from other projects, is left out.
func (g *gathered) graph(sum []byte, download string) error {
	for line := range strings.Lines(string(sum)) {
		f := strings.Fields(line)
		if len(f) != 3 || !strings.HasSuffix(f[1], "/go.mod") {
			continue
		}
		v := module.Version{Path: f[0], Version: strings.TrimSuffix(f[1], "/go.mod")}
		base, err := versionFile(v, "")
		if err != nil {
			return err
		}
		file := filepath.Join(download, filepath.FromSlash(base)+".mod")
		if _, err := os.Stat(file); err != nil {
			continue // an old line: nothing needs it any more
		}
		if err := g.file(v, ".mod", file); err != nil {
			return err
		}
		g.mods[v] = true
		g.sums[f[0]+" "+f[1]] = f[2]
	}
	return nil
}

// infos adds the .info files of modules that are listed with their versions; one
// without, such as the main module, has none.
func (g *gathered) infos(list []byte, download string) error {
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		v := module.Version{Path: f[0], Version: f[1]}
		name, err := versionFile(v, ".info")
		if err != nil {
			return err
		}
		file := filepath.Join(download, filepath.FromSlash(name))
		if _, err := os.Stat(file); err != nil {
			continue // nobody has it any more; it is built without
		}
		if err := g.file(v, ".info", file); err != nil {
			return err
		}
	}
	return nil
}

func (g *gathered) file(v module.Version, suffix, file string) error {
	if file == "" {
		return fmt.Errorf("%s: go says nothing of its %s file", v, suffix)
	}
	name, err := versionFile(v, suffix)
	if err == nil {
		g.files[name] = file
	}
	return err
}

// versionFile is the path of a module's file below a GOPROXY.
func versionFile(v module.Version, suffix string) (string, error) {
	p, err := module.EscapePath(v.Path)
	if err != nil {
		return "", err
	}
	ver, err := module.EscapeVersion(v.Version)
	return p + "/@v/" + ver + suffix, err
}

// sources are the module files, their lists of versions, and the part of the
// checksum database that proves them.
func (g *gathered) sources(ctx context.Context, o *CreateOptions, archives []string) ([]Source, error) {
	var sources []Source
	lists := map[string][]string{}
	for name, file := range g.files {
		s, err := fileSource(ModulesDir+"/"+name, file, 0o644)
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	for v := range g.mods {
		name, err := module.EscapePath(v.Path)
		if err != nil {
			return nil, err
		}
		lists[name] = append(lists[name], "")
		if g.zips[v] && !module.IsPseudoVersion(v.Version) {
			lists[name] = append(lists[name], v.Version)
		}
	}
	for name, versions := range lists {
		semver.Sort(versions)
		text := strings.TrimLeft(strings.Join(slices.Compact(versions), "\n")+"\n", "\n")
		sources = append(sources, BytesSource(path.Join(ModulesDir, name, "@v/list"), 0o644, []byte(text)))
	}
	logged, err := g.log(ctx, o, archives)
	if err != nil {
		return nil, err
	}
	return append(sources, logged...), g.verify(ctx, o)
}

// verify reads every module and compares it with the checksum database's
// record, or, of a private one, with go.sum: go believes what lies in its cache,
// and go.sum before it asks the database.
func (g *gathered) verify(ctx context.Context, o *CreateOptions) (err error) {
	work := beginWork(o.Fetch.Progress, fmt.Sprintf("hash %d modules", len(g.zips)))
	defer func() { work.End(err) }()
	for name, file := range g.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, ok := versionOf(ModulesDir + "/" + name)
		key, hash := m.Path+" "+m.Version, dirhash.HashZip
		switch path.Ext(name) {
		case ".mod":
			key, hash = key+"/go.mod", hashGoMod
		case ".info":
			continue
		}
		want, by := g.logged[key], "the checksum database"
		if want == "" {
			want, by = g.sums[key], "go.sum"
		}
		got, err := hash(file, dirhash.Hash1)
		if err == nil && got != want {
			err = fmt.Errorf("it has %s, %s says %q", got, by, want)
		}
		if err != nil || !ok {
			return fmt.Errorf("module %s: %s is not to be believed: remove %s, or ask another GOPROXY: %w", m, file, o.ModCache, err)
		}
	}
	return nil
}

// hashGoMod is the hash of a go.mod file as go.sum has it.
func hashGoMod(file string, hash dirhash.Hash) (string, error) {
	return hash([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return os.Open(file) })
}

// log copies what the checksum database has of the public modules and of the
// toolchains.
func (g *gathered) log(ctx context.Context, o *CreateOptions, archives []string) ([]Source, error) {
	var wanted []module.Version
	toolchains := map[module.Version]bool{}
	for v := range g.mods {
		if !module.MatchPrefixPatterns(g.private, v.Path) {
			wanted = append(wanted, v)
		}
	}
	for _, name := range archives {
		n, err := release.ParseName(name)
		if err != nil {
			return nil, err
		}
		if v, ok := release.ToolchainModule(n); ok && !toolchains[v] {
			toolchains[v] = true
			wanted = append(wanted, v)
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	module.Sort(wanted)
	work := beginWork(o.Fetch.Progress, fmt.Sprintf("prove %d modules", len(wanted)))
	c, err := release.CopyLog(ctx, o.Fetch, wanted)
	work.End(err)
	if err != nil {
		return nil, err
	}
	for _, v := range c.Unknown {
		if !toolchains[v] {
			return nil, fmt.Errorf("%s is not in the checksum database: if it is private, say so with go env -w GOPRIVATE=%s", v, v.Path)
		}
	}
	g.logged = c.Lines
	var sources []Source
	for name, data := range c.Files {
		sources = append(sources, BytesSource(path.Join(sumdbDir, c.Name, name), 0o644, data))
	}
	return sources, nil
}

// goCommand runs the user's go.
type goCommand struct {
	dir string
	env []string
}

func (g *goCommand) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = g.dir, append(os.Environ(), g.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("there is no go command here: modules are fetched with it, and with its settings")
	case err != nil:
		text := strings.TrimSpace(stderr.String())
		return out, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, text[max(0, len(text)-2000):])
	}
	return out, nil
}
