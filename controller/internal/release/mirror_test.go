package release

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenFromURL(t *testing.T) {
	net := newNet(t)
	net.release(t, newFake("1.26.8", amd64))
	dir := t.TempDir()
	_, err := net.fetch(t, FetchOptions{Version: "1.26.8", Source: FromProxy, To: dir})
	must(t, err)
	name := ModuleName("1.26.8", amd64).String()
	for _, file := range []string{name, name + EvidenceSuffix} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		must(t, err)
		net.files["/archives/"+file] = data
	}
	net.breakAt["/archives/"+name] = 1300
	o := Options{
		Location: strings.Replace(net.URL, "http://", "http://me:secret@", 1) + "/archives/",
		CacheDir: filepath.Join(t.TempDir(), "cache"), Table: Table{}, SumDB: net.log.key,
	}
	net.asked = nil
	a, err := openIn(t, o, "1.26.8")
	must(t, err)
	if a.Evidence().Kind != SumDB || !strings.Contains(strings.Join(net.asked, "\n"), "/archives/"+name+" bytes=1300-") {
		t.Errorf("%s after asking for %v", a.Evidence(), net.asked)
	}

	// Once is enough.
	net.asked = nil
	_, err = openIn(t, o, "1.26.8")
	must(t, err)
	if len(net.asked) > 0 {
		t.Errorf("asked again for %v", net.asked)
	}

	_, err = openIn(t, o, "1.26.9")
	wantError(t, err, "looked for go1.26.9.linux-amd64.tar.gz and go1.26.9.linux-amd64.module.tar.gz")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is shown: %v", err)
	}
	net.Close()
	_, err = openIn(t, o, "1.26.9")
	wantError(t, err, "/archives/go1.26.9")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is shown: %v", err)
	}
}

// What was refused is asked for again, since somebody may have mended it.
func TestARefusedDownloadIsNotKept(t *testing.T) {
	net := newNet(t)
	f := newFake("1.26.8", amd64)
	file := f.official(t, t.TempDir())
	good, err := os.ReadFile(file)
	must(t, err)
	o := Options{Location: net.URL, CacheDir: filepath.Join(t.TempDir(), "cache"), Table: Table{f.name.String(): sumOf(t, file)}}
	net.files["/"+f.name.String()] = good[1:]
	_, err = openIn(t, o, "1.26.8")
	wantRefused(t, err, "the official", "fetch")
	net.files["/"+f.name.String()] = good
	_, err = openIn(t, o, "1.26.8")
	must(t, err)
}
