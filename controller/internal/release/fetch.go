package release

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
)

// Where Fetch gets releases from.
const (
	FromAuto  = "auto"   // go.dev, else the module proxy
	FromGoDev = "go.dev" // official archives
	FromProxy = "proxy"  // the toolchain module, through a GOPROXY
)

// GoDev is where the list of releases and the official archives are.
const GoDev = "https://go.dev/dl"

// GoStorage has the official archives and signatures, but no list.
const GoStorage = "https://dl.google.com/go"

// FetchOptions say what to fetch, from where, and to where. The zero value of
// a field means its default.
type FetchOptions struct {
	Version   string          // "1.26.8"; "1.26" is its newest patch, "go1.20" exactly that release
	Platforms []spec.Platform // at least one
	To        string          // directory, made if it is not there; "."
	Source    string          // FromAuto
	GoDev     string          // base URL of list and archives; GoDev, and GoStorage for archives
	Mirrors   []string        // base URLs that have official archives, tried in order instead of GoDev's
	Proxy     string          // as GOPROXY is written; required for FromProxy
	SumDBURL  string          // where the checksum database answers when the proxy does not; https:// and its name
	CacheDir  string
	Table     Table
	Signer    Signer
	SumDB     string // verifier key
	Client    *http.Client
	Progress  Progress
}

// FetchResult is what Fetch got.
type FetchResult struct {
	Version string        `json:"version"`
	Files   []FetchedFile `json:"files"`
}

// FetchedFile is one archive that is now in the directory, verified.
type FetchedFile struct {
	Path     string        `json:"path"`
	Platform spec.Platform `json:"platform"`
	SHA256   string        `json:"sha256"`
	Size     int64         `json:"size"`
	Source   string        `json:"source"`   // FromGoDev or FromProxy; "" if it was there already
	Evidence string        `json:"evidence"` // why it is believed, offline too
}

// Fetch gets a release for each platform, verifies it as apply will, with what
// lies beside it and no network, and leaves in the directory only what passed.
// What is there already and verifies is not fetched again; what an earlier
// Fetch left half done is continued. On an error, FetchResult still lists what
// was got before.
func Fetch(ctx context.Context, o FetchOptions) (FetchResult, error) {
	f, err := newFetcher(o)
	if err != nil {
		return FetchResult{}, err
	}
	defer f.store.Close()
	v, err := f.resolve(ctx)
	if err != nil {
		return FetchResult{}, err
	}
	result := FetchResult{Version: v}
	for _, p := range f.Platforms {
		file, err := f.fetch(ctx, v, p)
		if err != nil {
			return result, fmt.Errorf("fetch go%s for %s: %w", v, p, err)
		}
		result.Files = append(result.Files, file)
	}
	return result, nil
}

type fetcher struct {
	FetchOptions
	store   *Store // of the directory, to verify what is in it
	proxies []string
	list    []goRelease // go.dev's, once it was read
	listErr error
}

func newFetcher(o FetchOptions) (*fetcher, error) {
	if len(o.Platforms) == 0 {
		return nil, errors.New("fetch: no platform named: say --platform linux/amd64")
	}
	if o.Source == "" {
		o.Source = FromAuto
	}
	if !slices.Contains([]string{FromAuto, FromGoDev, FromProxy}, o.Source) {
		return nil, fmt.Errorf("fetch: unknown source %q: there are %s, %s and %s", o.Source, FromAuto, FromGoDev, FromProxy)
	}
	to, err := filepath.Abs(o.To) // "" is the working directory
	if err == nil {
		o.To = to
		err = os.MkdirAll(to, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	if o.Client == nil {
		o.Client = withFiles(newClient())
	}
	store, err := NewStore(Options{
		Location: o.To, CacheDir: o.CacheDir, Table: o.Table, Signer: o.Signer,
		SumDB: o.SumDB, Client: o.Client, Progress: o.Progress,
	})
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	o.Table, o.SumDB = store.options.Table, store.options.SumDB
	return &fetcher{FetchOptions: o, store: store, proxies: proxyURLs(o.Proxy)}, nil
}

// withFiles lets the client's transport serve file URLs, which a GOPROXY may be.
func withFiles(c *http.Client) *http.Client {
	c.Transport.(*http.Transport).RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
	return c
}

// resolve turns what was asked for into a version.
func (f *fetcher) resolve(ctx context.Context) (string, error) {
	asked, exact := strings.CutPrefix(f.Version, "go")
	if err := CheckVersion(asked); err != nil {
		return "", err
	}
	if exact || asked != language(asked) {
		return asked, nil
	}
	var errs []error
	for _, from := range f.sources() {
		var versions []string
		var err error
		if from == FromGoDev {
			versions, err = f.goDevVersions(ctx)
		} else {
			versions, err = f.proxyVersions(ctx)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		newest := ""
		for _, v := range versions {
			if language(v) == asked && !strings.ContainsAny(v, "abcr") && (newest == "" || Newer(v, newest)) {
				newest = v
			}
		}
		if newest != "" {
			return newest, nil
		}
		errs = append(errs, fmt.Errorf("%s has no release of Go %s", from, asked))
	}
	return "", fmt.Errorf("find the newest go%s: %w", asked, errors.Join(errs...))
}

// sources are those to try, in order.
func (f *fetcher) sources() []string {
	if f.Source != FromAuto {
		return []string{f.Source}
	}
	if len(f.proxies) == 0 {
		return []string{FromGoDev}
	}
	return []string{FromGoDev, FromProxy}
}

// fetch gets one archive, unless a good one is there.
func (f *fetcher) fetch(ctx context.Context, v string, p spec.Platform) (FetchedFile, error) {
	if file, ok := f.present(ctx, v, p); ok {
		return file, nil
	}
	if err := neverReleased(f.Table, v, p); err != nil {
		return FetchedFile{}, err
	}
	var errs []error
	for _, from := range f.sources() {
		name, get := OfficialName(v, p), f.fromGoDev
		if from == FromProxy {
			name, get = ModuleName(v, p), f.fromProxy
		}
		file, err := f.arrive(ctx, name, from, get)
		if err == nil || ctx.Err() != nil || isRefused(err) {
			return file, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", from, err))
	}
	return FetchedFile{}, errors.Join(errs...)
}

// staging is the directory in which files arrive, inside the one they are for.
const staging = ".fetching"

// arrive lets get put an archive and what belongs beside it into a directory
// of its own, where it is verified; only then it goes where it is wanted, last
// of all. What broke off stays for the next try, what was refused does not.
func (f *fetcher) arrive(ctx context.Context, n Name, from string, get func(ctx context.Context, path string, n Name) error) (FetchedFile, error) {
	dir := filepath.Join(f.To, staging, n.String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return FetchedFile{}, err
	}
	defer os.Remove(filepath.Join(f.To, staging)) // if it is empty
	defer os.Remove(dir)
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return FetchedFile{}, err
	}
	defer unlock()
	defer os.Remove(dir + ".lock")

	path := filepath.Join(dir, n.String())
	err = get(ctx, path, n)
	var file FetchedFile
	if err == nil {
		file, err = f.verified(ctx, path, from)
	}
	if isRefused(err) {
		os.RemoveAll(dir)
	}
	if err != nil {
		return FetchedFile{}, err
	}
	for _, suffix := range []string{".asc", EvidenceSuffix, ""} {
		err := os.Rename(path+suffix, filepath.Join(f.To, n.String()+suffix))
		if err != nil && (suffix == "" || !errors.Is(err, os.ErrNotExist)) {
			return FetchedFile{}, err
		}
	}
	file.Path = filepath.Join(f.To, n.String())
	return file, nil
}

// neverReleased says that a release is known not to have been for a platform.
// The table knows all Linux archives of the versions before there were modules.
func neverReleased(t Table, v string, p spec.Platform) error {
	have := t.Platforms(v)
	if p.OS != "linux" || hasModule(v) || len(have) == 0 || slices.Contains(have, published(p).String()) {
		return nil
	}
	return fmt.Errorf("go%s was not released for %s; it was for %s", v, p, strings.Join(have, ", "))
}

// isRefused tells whether what arrived was bad: then no other source is tried,
// because somebody should look at it.
func isRefused(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused)
}

// present gives the archive that is in the directory already, if it is good
// and one that the wanted source would give.
func (f *fetcher) present(ctx context.Context, v string, p spec.Platform) (FetchedFile, bool) {
	names := []Name{OfficialName(v, p), ModuleName(v, p)}
	switch f.Source {
	case FromGoDev:
		names = names[:1]
	case FromProxy:
		names = names[1:]
	}
	for _, n := range names {
		if file, err := f.verified(ctx, filepath.Join(f.To, n.String()), ""); err == nil {
			return file, true
		}
	}
	return FetchedFile{}, false
}

// verified looks at a file exactly as apply will.
func (f *fetcher) verified(ctx context.Context, path, from string) (FetchedFile, error) {
	a, err := f.store.openFile(ctx, path)
	if err != nil {
		return FetchedFile{}, err
	}
	defer a.Close()
	return FetchedFile{
		Path: a.Path(), Platform: a.Platform(), SHA256: a.SHA256(), Size: a.Size(),
		Source: from, Evidence: a.Evidence().String(),
	}, nil
}
