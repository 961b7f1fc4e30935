package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// goRelease is one release in go.dev's list.
type goRelease struct {
	Version string   `json:"version"` // with "go"
	Files   []goFile `json:"files"`
}

type goFile struct {
	Filename string `json:"filename"`
	SHA256   string `json:"sha256"` // empty for releases up to 1.5.2
	Kind     string `json:"kind"`
}

// maxList bounds go.dev's list, which has about 3 MB.
const maxList = 64 << 20

// releases reads go.dev's list, once.
func (f *fetcher) releases(ctx context.Context) ([]goRelease, error) {
	if f.list == nil && f.listErr == nil {
		url := strings.TrimSuffix(f.goDev(), "/") + "/?mode=json&include=all"
		f.listErr = f.getJSON(ctx, url, &f.list)
		if f.listErr == nil && len(f.list) == 0 {
			f.listErr = fmt.Errorf("get %s: the list is empty", safeURL(url))
		}
	}
	return f.list, f.listErr
}

func (f *fetcher) goDev() string {
	if f.GoDev != "" {
		return f.GoDev
	}
	return GoDev
}

func (f *fetcher) getJSON(ctx context.Context, url string, v any) error {
	resp, err := request(ctx, f.Client, url, 0, "")
	if err != nil {
		return fmt.Errorf("get %s: %w", safeURL(url), err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxList)).Decode(v); err != nil {
		return fmt.Errorf("get %s: it is not go.dev's list: %w", safeURL(url), err)
	}
	return nil
}

func (f *fetcher) goDevVersions(ctx context.Context) ([]string, error) {
	list, err := f.releases(ctx)
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, r := range list {
		versions = append(versions, strings.TrimPrefix(r.Version, "go"))
	}
	return versions, nil
}

// fromGoDev gets an official archive. The sum that it must have comes from
// go.dev's list and from the built-in table, which may not contradict each
// other; the signature is put beside the archive, as evidence for those who
// have no table that knows it.
func (f *fetcher) fromGoDev(ctx context.Context, path string, n Name) error {
	want, err := f.officialSum(ctx, n)
	if err != nil {
		return err
	}
	var errs []error
	for _, base := range f.bases() {
		url := strings.TrimSuffix(base, "/") + "/" + n.String()
		err := f.official(ctx, url, path, n, want)
		if err == nil || ctx.Err() != nil || isRefused(err) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// bases are the URLs under which official archives may lie, in order.
func (f *fetcher) bases() []string {
	switch {
	case len(f.Mirrors) > 0:
		return f.Mirrors
	case f.GoDev != "":
		return []string{f.GoDev}
	}
	return []string{GoDev, GoStorage}
}

// officialSum is the sum that the archive must have. With mirrors and no
// go.dev the table alone must know it.
func (f *fetcher) officialSum(ctx context.Context, n Name) (string, error) {
	name := n.String()
	known, inTable := f.Table[name]
	listed, err := f.listedSum(ctx, n)
	switch {
	case err != nil && inTable && known != "" && f.listErr != nil && len(f.Mirrors) > 0:
		return known, nil
	case err != nil:
		return "", err
	case inTable && known != listed:
		return "", &RefusedError{File: name, SHA256: listed,
			Reason: fmt.Sprintf("go.dev lists sha256 %q, gofleet knows it as %q", listed, known),
			Hint:   "one of them is wrong: do not use the file before you know which"}
	case !isSHA256(listed):
		return "", &RefusedError{File: name,
			Reason: "Go has published no sha256 of it",
			Hint:   "releases up to 1.5.2 cannot be verified: take a later one"}
	}
	return listed, nil
}

// listedSum finds the archive in go.dev's list; it may be empty.
func (f *fetcher) listedSum(ctx context.Context, n Name) (string, error) {
	list, err := f.releases(ctx)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(list, func(r goRelease) bool { return r.Version == "go"+n.Version })
	if i < 0 {
		return "", fmt.Errorf("there is no release go%s", n.Version)
	}
	have := []string{}
	for _, file := range list[i].Files {
		if file.Filename == n.String() {
			return strings.ToLower(file.SHA256), nil
		}
		if m, err := ParseName(file.Filename); err == nil && file.Kind == "archive" {
			have = append(have, m.Platform.String())
		}
	}
	slices.Sort(have)
	return "", fmt.Errorf("go%s was not released for %s; it was for %s", n.Version, n.Platform, strings.Join(have, ", "))
}

// official downloads the archive and its signature and takes them only with
// the sum that is wanted.
func (f *fetcher) official(ctx context.Context, url, path string, n Name, want string) error {
	if err := downloadShown(ctx, f.Client, url, path, maxArchive, f.Progress); err != nil {
		return err
	}
	got, err := sumPath(path)
	if err != nil {
		return err
	}
	if got != want {
		return &RefusedError{File: safeURL(url), SHA256: got,
			Reason: fmt.Sprintf("it has sha256 %s, the official %s has %s", got, n, want),
			Hint:   "what this server gives is not the official file: fetch from another with --mirror"}
	}
	err = download(ctx, f.Client, url+".asc", path+".asc", maxSignature, func(int64, int64) {})
	if err != nil && f.Table[n.String()] == "" {
		return fmt.Errorf("its signature, which proves it where there is no network: %w", err)
	}
	return nil
}

func sumPath(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum, _, err := sumFile(file)
	return sum, err
}
