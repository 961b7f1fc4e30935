package release

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

func moduleOf(path, version string) module.Version {
	return module.Version{Path: path, Version: version}
}

// proofOf fetches a release from a small network and gives its evidence.
func proofOf(t testing.TB, others int) (*Proof, string, Name) {
	t.Helper()
	net := newNet(t)
	net.log.grow(t, others, "before")
	net.release(t, newFake("1.26.8", amd64))
	to := t.TempDir()
	_, err := net.fetch(t, FetchOptions{Version: "1.26.8", Source: FromProxy, To: to})
	must(t, err)
	name := ModuleName("1.26.8", amd64)
	text, err := os.ReadFile(filepath.Join(to, name.String()+EvidenceSuffix))
	must(t, err)
	p, err := ParseProof(text)
	must(t, err)
	return p, net.log.key, name
}

// The evidence of a real release, as it was fetched, proves its hash with
// nothing but the public key of the Go checksum database.
func TestRealEvidence(t *testing.T) {
	name := ModuleName("1.26.8", amd64)
	text, err := os.ReadFile(filepath.Join("testdata", name.String()+EvidenceSuffix))
	must(t, err)
	p, err := ParseProof(text)
	must(t, err)
	h1, err := p.Verify(GoSumDB, name)
	must(t, err)
	if h1 != "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=" {
		t.Errorf("the evidence proves %s", h1)
	}
	_, err = p.Verify(newLog(t).key, name)
	wantError(t, err, "tree head")
}

func TestEveryFieldOfEvidenceIsChecked(t *testing.T) {
	good, key, name := proofOf(t, 300)
	if len(good.Tiles) < 2 {
		t.Fatalf("only %d tiles", len(good.Tiles))
	}
	if _, err := good.Verify(key, name); err != nil {
		t.Fatal(err)
	}
	paths := slices.Sorted(maps.Keys(good.Tiles))
	for what, change := range map[string]func(p *Proof){
		"file":          func(p *Proof) { p.File = ModuleName("1.26.7", amd64).String() },
		"h1":            func(p *Proof) { p.H1 = "h1:" + strings.Repeat("B", 43) + "=" },
		"number":        func(p *Proof) { p.ID-- },
		"record":        func(p *Proof) { p.Record = strings.Replace(p.Record, "h1:", "h1:x", 1) },
		"extra record":  func(p *Proof) { p.Record += "golang.org/toolchain v0.0.1-x h1:AAAA\n" },
		"size in head":  func(p *Proof) { p.Head = strings.Replace(p.Head, "tree\n301", "tree\n302", 1) },
		"signature":     func(p *Proof) { p.Head = p.Head[:len(p.Head)-9] + "x" + p.Head[len(p.Head)-8:] },
		"2nd signature": func(p *Proof) { p.Head += "— other.example.org AAAAAAAAAAAA\n" },
		"first tile":    func(p *Proof) { p.Tiles[paths[0]] = flip(p.Tiles[paths[0]], 0) },
		"last tile":     func(p *Proof) { last := paths[len(paths)-1]; p.Tiles[last] = flip(p.Tiles[last], 20) },
		"short tile":    func(p *Proof) { p.Tiles[paths[0]] = p.Tiles[paths[0]][32:] },
		"missing tile":  func(p *Proof) { delete(p.Tiles, paths[1]) },
		"extra tile":    func(p *Proof) { p.Tiles["tile/8/0/x999/000"] = make([]byte, 8192) },
	} {
		p := *good
		p.Tiles = maps.Clone(good.Tiles)
		change(&p)
		if bytes.Equal(p.Encode(), good.Encode()) {
			t.Fatalf("%s: nothing was changed", what)
		}
		read, err := ParseProof(p.Encode())
		if err == nil {
			_, err = read.Verify(key, name)
		}
		if err == nil {
			t.Errorf("%s: evidence that was changed there is believed", what)
		}
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// No byte of an evidence file may be changed, also by one who mends its sum.
func TestNoByteOfEvidenceIsFree(t *testing.T) {
	good, key, name := proofOf(t, 2)
	text := good.Encode()
	believed := func(text []byte) bool {
		p, err := ParseProof(text)
		if err != nil {
			return false
		}
		_, err = p.Verify(key, name)
		return err == nil
	}
	if !believed(text) {
		t.Fatal("the evidence is not believed as it is")
	}
	body := text[:bytes.LastIndex(text, []byte("\nsha256 "))+1]
	for i := range text {
		for _, bit := range []byte{1, 0x20} {
			changed := bytes.Clone(text)
			changed[i] ^= bit
			if believed(changed) {
				t.Errorf("byte %d may be %q instead of %q", i, changed[i], text[i])
			}
			if i >= len(body) {
				continue
			}
			changed = changed[:len(body):len(body)]
			changed = fmt.Appendf(changed, "sha256 %x\n", sha256.Sum256(changed))
			if believed(changed) {
				t.Errorf("with the sum mended, byte %d may be %q instead of %q", i, body[i]^bit, body[i])
			}
		}
	}
	for i := range text {
		if believed(text[:i]) {
			t.Errorf("the first %d bytes alone are believed", i)
		}
	}
	if believed(append(bytes.Clone(text), '\n')) {
		t.Error("a line behind the end is not seen")
	}
}

// FuzzParseProof: whatever is accepted is written the same way.
func FuzzParseProof(f *testing.F) {
	p := Proof{File: "go1.26.8.linux-amd64.tar.gz", H1: "h1:x", ID: 7, Record: "a b h1:x\n", Head: "head\n\n— x y\n",
		Tiles: map[string][]byte{"tile/8/0/000.p/1": make([]byte, 32)}}
	f.Add(p.Encode())
	f.Add([]byte(evidenceFormat + "\nfile x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		// The sum would stop nearly everything that a fuzzer makes up.
		if body, _, err := cutSum(text); err == nil {
			text = fmt.Appendf(bytes.Clone(body), "sha256 %x\n", sha256.Sum256(body))
		}
		if p, err := ParseProof(text); err == nil && !bytes.Equal(p.Encode(), text) {
			t.Error("accepted in two forms")
		}
	})
}

// FuzzVerifyProof: whatever is believed of a real release is what the checksum
// database has recorded.
func FuzzVerifyProof(f *testing.F) {
	const file = "go1.26.8.linux-amd64.module.tar.gz"
	name, err := ParseName(file)
	must(f, err)
	text, err := os.ReadFile("testdata/" + file + ".evidence")
	must(f, err)
	real, err := ParseProof(text)
	must(f, err)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		if body, _, err := cutSum(text); err == nil {
			text = fmt.Appendf(bytes.Clone(body), "sha256 %x\n", sha256.Sum256(body))
		}
		p, err := ParseProof(text)
		if err != nil {
			return
		}
		if h1, err := p.Verify(GoSumDB, name); err == nil && h1 != real.H1 {
			t.Errorf("%s is believed", h1)
		}
	})
}
