package release

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/dirhash"

	"github.com/gofleet/gofleet/agent/spec"
)

// proxyURLs are the proxies that a GOPROXY value names. "direct" does not
// apply: toolchains are in no repository. "off" ends the list.
func proxyURLs(goproxy string) []string {
	var urls []string
	for _, s := range strings.FieldsFunc(goproxy, func(r rune) bool { return r == ',' || r == '|' }) {
		switch s = strings.TrimSpace(s); s {
		case "", "direct":
		case "off":
			return urls
		default:
			urls = append(urls, strings.TrimSuffix(s, "/"))
		}
	}
	return urls
}

// eachProxy calls get for one proxy after the other until one can.
func (f *fetcher) eachProxy(ctx context.Context, get func(proxy string) error) error {
	if len(f.proxies) == 0 {
		return errors.New("no module proxy is named: set GOPROXY")
	}
	var errs []error
	for _, proxy := range f.proxies {
		err := get(proxy)
		if err == nil || ctx.Err() != nil {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// proxyVersions lists the versions that are there as toolchain modules for
// every wanted platform.
func (f *fetcher) proxyVersions(ctx context.Context) ([]string, error) {
	var versions []string
	err := f.eachProxy(ctx, func(proxy string) error {
		url := proxy + "/" + modulePath + "/@v/list"
		resp, err := request(ctx, f.Client, url, 0, "")
		if err != nil {
			return fmt.Errorf("get %s: %w", safeURL(url), err)
		}
		defer resp.Body.Close()
		versions, err = readVersions(io.LimitReader(resp.Body, maxList), f.Platforms)
		return err
	})
	return versions, err
}

// readVersions reads the list of toolchain modules, one a line.
func readVersions(r io.Reader, platforms []spec.Platform) ([]string, error) {
	count := map[string]int{}
	s := bufio.NewScanner(r)
	for s.Scan() {
		for _, p := range platforms {
			suffix := "." + p.OS + "-" + p.GOARCH()
			v, ok := strings.CutSuffix(strings.TrimPrefix(s.Text(), "v0.0.1-go"), suffix)
			if ok && CheckVersion(v) == nil {
				count[v]++
			}
		}
	}
	var versions []string
	for v, n := range count {
		if n == len(platforms) {
			versions = append(versions, v)
		}
	}
	return versions, s.Err()
}

// fromProxy gets the toolchain module, proves it against the checksum database
// and makes the canonical archive of it, with its evidence beside it.
func (f *fetcher) fromProxy(ctx context.Context, path string, n Name) error {
	if !hasModule(n.Version) {
		return fmt.Errorf("go%s is no module; Go 1.21 and later are: fetch it from go.dev", n.Version)
	}
	proof, err := f.prove(ctx, n)
	if errors.Is(err, errNotThere) {
		return fmt.Errorf("%s@%s: the checksum database does not know it: go%s was not released for %s, or the proxy holds it back", modulePath, n.moduleVersion(), n.Version, n.Platform)
	}
	if err != nil {
		return err
	}
	module := strings.TrimSuffix(path, ".tar.gz") + ".zip"
	err = f.eachProxy(ctx, func(proxy string) error {
		url := proxy + "/" + modulePath + "/@v/" + n.moduleVersion() + ".zip"
		return downloadShown(ctx, f.Client, url, module, maxArchive, f.Progress)
	})
	if err != nil {
		return err
	}
	if err := f.convert(ctx, module, path, n, proof); err != nil {
		return err
	}
	return os.Remove(module)
}

// convert makes the archive at path of a module's zip that has the hash which
// the proof proves, and the evidence beside it.
func (f *fetcher) convert(ctx context.Context, module, path string, n Name, proof *Proof) error {
	got, err := dirhash.HashZip(module, dirhash.Hash1)
	if err != nil || got != proof.H1 {
		os.Remove(module)
		if err != nil {
			return fmt.Errorf("read the module: %w", err)
		}
		return &RefusedError{File: modulePath + "@" + n.moduleVersion(),
			Reason: fmt.Sprintf("the proxy's module has %s, the checksum database recorded %s", got, proof.H1),
			Hint:   "what this proxy gives is not what Go released: fetch through another GOPROXY"}
	}
	z, err := zip.OpenReader(module)
	if err != nil {
		return fmt.Errorf("read the module: %w", err)
	}
	defer z.Close()
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	work := f.Progress.begin("convert " + n.String())
	w := bufio.NewWriterSize(out, 1<<20)
	err = writeCanonical(ctx, w, &z.Reader, n, work.Set)
	err = errors.Join(err, w.Flush(), out.Sync(), out.Close())
	work.End(err)
	if err != nil {
		return fmt.Errorf("make %s: %w", n, err)
	}
	return os.WriteFile(path+EvidenceSuffix, proof.Encode(), 0o644)
}
