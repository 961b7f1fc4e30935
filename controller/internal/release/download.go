package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
)

// errNotThere is a server's word that it has no such file.
var errNotThere = errors.New("not found")

// stall is how long a server may send nothing in the middle of a file.
const stall = 60 * time.Second

var errStalled = fmt.Errorf("nothing came for %v", stall)

// newClient makes a client that gives up on servers that do not answer.
func newClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	t.ResponseHeaderTimeout = 30 * time.Second
	return &http.Client{Transport: t}
}

// tries is how often a download is taken up again after it broke.
const tries = 5

// download gets url into the file dst, under another name until it is all
// there. A part that an earlier try left is continued, if the server still has
// the same file. It is errNotThere when the server says so. Of several callers
// at once, one downloads and the others wait; dst is not asked for if it is
// there.
func download(ctx context.Context, client *http.Client, url, dst string, limit int64, progress func(done, total int64)) error {
	unlock, err := lock(ctx, dst+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	defer os.Remove(dst + ".lock")
	if _, err := os.Stat(dst); err == nil {
		return nil
	}
	part := dst + ".part"
	for try := 1; ; try++ {
		err := downloadOnce(ctx, client, url, part, limit, progress)
		if err == nil {
			break
		}
		var broken *brokenError
		if !errors.As(err, &broken) || try == tries {
			return fmt.Errorf("get %s: %w", safeURL(url), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * 500 * time.Millisecond):
		}
	}
	os.Remove(part + ".tag")
	return os.Rename(part, dst)
}

// downloadShown is download with its progress shown under the file's name.
func downloadShown(ctx context.Context, client *http.Client, url, dst string, limit int64, progress Progress) error {
	var work Work
	err := download(ctx, client, url, dst, limit, func(done, total int64) {
		if work == nil { // the file is there
			work = progress.begin("download " + filepath.Base(dst))
		}
		work.Set(done, total)
	})
	if work != nil {
		work.End(err)
	}
	return err
}

// brokenError is a download that ended early; another try may go on.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// downloadOnce asks once for what is missing of part.
func downloadOnce(ctx context.Context, client *http.Client, url, part string, limit int64, progress func(done, total int64)) error {
	var have int64
	tag, _ := os.ReadFile(part + ".tag")
	if st, err := os.Stat(part); err == nil && len(tag) > 0 {
		have = st.Size()
	}
	live, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watch.Stop()
	resp, err := request(live, client, url, have, string(tag))
	if err != nil {
		if have > 0 && !errors.Is(err, errNotThere) && ctx.Err() == nil {
			err = &brokenError{err}
		}
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		have = 0
	case http.StatusRequestedRangeNotSatisfiable:
		os.Remove(part + ".tag")
		return &brokenError{errors.New("the part of an earlier try does not fit: starting over")}
	}
	f, total, err := openPart(part, have, limit, resp)
	if err != nil {
		return err
	}
	defer f.Close()
	body := &countReader{r: io.LimitReader(resp.Body, limit-have+1), n: have, report: func(n int64) {
		watch.Reset(stall)
		progress(n, total)
	}}
	_, err = io.Copy(f, body)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case context.Cause(live) != nil:
		return &brokenError{context.Cause(live)}
	case body.err != nil:
		return &brokenError{body.err}
	case err != nil:
		return err
	case body.n > limit:
		return fmt.Errorf("it has more than %d bytes; no such file is so large", limit)
	}
	return f.Sync()
}

// openPart opens the part at the place where the answer goes on, and notes
// what the answer is of. total is 0 if the server does not say it.
func openPart(part string, have, limit int64, resp *http.Response) (f *os.File, total int64, err error) {
	if resp.ContentLength > 0 {
		total = have + resp.ContentLength
	}
	if total > limit {
		return nil, 0, fmt.Errorf("it has %d bytes; no such file is so large", total)
	}
	if err := os.WriteFile(part+".tag", []byte(validator(resp)), 0o600); err != nil {
		return nil, 0, err
	}
	if f, err = os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return nil, 0, err
	}
	err = f.Truncate(have)
	if err == nil {
		_, err = f.Seek(have, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, total, nil
}

// request asks for the file from byte have on, provided that tag still fits.
func request(ctx context.Context, client *http.Client, url string, have int64, tag string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, errors.New("the URL is malformed") // and err would show all of it
	}
	// Transparent decompression would change both length and content.
	req.Header.Set("Accept-Encoding", "identity")
	if have > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(have, 10)+"-")
		req.Header.Set("If-Range", tag)
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, errors.Unwrap(err) // the URL is named by the caller, without a password
	}
	switch code := resp.StatusCode; {
	case code == http.StatusOK, code == http.StatusRequestedRangeNotSatisfiable && have > 0,
		code == http.StatusPartialContent && have > 0 && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)):
		return resp, nil
	case code == http.StatusNotFound, code == http.StatusGone:
		err = errNotThere
	case code >= 500, code == http.StatusTooManyRequests:
		err = &brokenError{errors.New("server says " + resp.Status)}
	default:
		err = errors.New("server says " + resp.Status)
	}
	resp.Body.Close()
	return nil, err
}

// validator is what tells the same file from a later one under the same URL.
func validator(resp *http.Response) string {
	if tag := resp.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return resp.Header.Get("Last-Modified")
}

// countReader reports how far it is and remembers why its reader failed.
type countReader struct {
	r      io.Reader
	n      int64
	err    error
	report func(n int64)
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	c.report(c.n)
	return n, err
}

// safeURL is the URL as it may be shown: a password in it is not.
func safeURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "the URL"
	}
	return u.Redacted()
}

// mirror is a finder on a web server of the inner network. What it has is
// downloaded once into the cache; evidence comes along from the same server.
type mirror struct {
	base     string
	client   *http.Client
	cache    cache
	progress Progress
}

func newMirror(o *Options, c cache) (*mirror, error) {
	u, err := url.Parse(o.Location)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("gofleet_archives: %q is not a URL", safeURL(o.Location))
	}
	return &mirror{strings.TrimSuffix(o.Location, "/"), o.Client, c, o.Progress}, nil
}

func (m *mirror) find(ctx context.Context, v string, p spec.Platform) (Blob, error) {
	names := candidates(v, p)
	sum := sha256.Sum256([]byte(m.base))
	dir, err := m.cache.sub("downloads", hex.EncodeToString(sum[:16]))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return openBlob(path)
		}
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		err := m.get(ctx, path)
		if errors.Is(err, errNotThere) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return openBlob(path)
	}
	return nil, &MissingError{
		Version: v, Platform: p.String(), Location: safeURL(m.base), Looked: names,
		Hint: fmt.Sprintf("on a machine that reaches the internet: gofleet fetch %s --platform %s, then put the files on the server", v, p),
	}
}

// get downloads an archive, but first what lies beside it: once the archive is
// in the cache, nothing is asked for again.
func (m *mirror) get(ctx context.Context, path string) error {
	name := filepath.Base(path)
	for suffix, limit := range map[string]int64{".asc": maxSignature, EvidenceSuffix: maxEvidence} {
		err := download(ctx, m.client, m.base+"/"+name+suffix, path+suffix, limit, func(int64, int64) {})
		if err != nil && !errors.Is(err, errNotThere) {
			return err
		}
	}
	return downloadShown(ctx, m.client, m.base+"/"+name, path, maxArchive, m.progress)
}

// refused drops what was downloaded, so that the next run gets it again.
func (m *mirror) refused(path string) {
	for _, suffix := range []string{"", ".asc", EvidenceSuffix} {
		os.Remove(path + suffix)
	}
}
