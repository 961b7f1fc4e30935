package seed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

const testChunk = 64 << 10

// content is what travels in tests, with its sums.
func content(n int) ([]byte, wire.Transfer) {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	sum := sha256.Sum256(b)
	t := wire.Transfer{Encoding: wire.Zstd, SHA256: hex.EncodeToString(sum[:]), Size: int64(n), ChunkSize: testChunk}
	for c := range slices.Chunk(b, testChunk) {
		s := sha256.Sum256(c)
		t.Chunks = append(t.Chunks, hex.EncodeToString(s[:]))
	}
	return b, t
}

func start(t *testing.T) (*Server, []byte, string) {
	t.Helper()
	key := bytes.Repeat([]byte{7}, KeySize)
	s, err := Listen(key, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, key, t.TempDir()
}

var loopback = [][]byte{{127, 0, 0, 1}}

func source(s *Server, key []byte) *wire.Source {
	return &wire.Source{Serving: wire.Serving{Addresses: loopback, Port: s.Where().Port}, Key: key}
}

// fetched collects what Fetch gives.
func fetched(t *testing.T, transfer wire.Transfer, offset int64) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got bytes.Buffer
	err := Fetch(ctx, transfer, offset, func(p []byte) error { got.Write(p); return nil })
	return got.Bytes(), err
}

// Hosts follow while the seed itself still gets the bytes, each from where it
// stands, and the seed's directory shows no file at any time.
func TestHostsFollowTheSeed(t *testing.T) {
	s, key, dir := start(t)
	want, transfer := content(5*testChunk + 123)
	f, err := s.Add(transfer, []string{"/nonexistent", dir})
	if err != nil {
		t.Fatal(err)
	}
	transfer.From = source(s, key)
	var hosts sync.WaitGroup
	begun := make(chan struct{}, 3)
	for _, offset := range []int64{0, 0, 2 * testChunk} {
		hosts.Go(func() {
			begun <- struct{}{}
			if got, err := fetched(t, transfer, offset); err != nil || !bytes.Equal(got, want[offset:]) {
				t.Errorf("from %d on came %d bytes, %v", offset, len(got), err)
			}
		})
	}
	for range 3 {
		<-begun
	}
	for part := range slices.Chunk(want, 50_000) {
		if err := f.Append(bytes.NewReader(part), int64(len(part))); err != nil {
			t.Fatal(err)
		}
		if names, _ := os.ReadDir(dir); len(names) > 0 {
			t.Fatalf("the seed's directory shows %s", names[0].Name())
		}
	}
	hosts.Wait()
	if err := f.Append(bytes.NewReader(want[:1]), 1); err == nil {
		t.Error("more bytes than the transfer has were taken")
	}
}

func TestOnlyTheKeyOpensASeed(t *testing.T) {
	s, key, dir := start(t)
	want, transfer := content(testChunk)
	f, err := s.Add(transfer, []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Append(bytes.NewReader(want), int64(len(want))); err != nil {
		t.Fatal(err)
	}
	transfer.From = source(s, bytes.Repeat([]byte{8}, KeySize))
	if got, err := fetched(t, transfer, 0); err == nil || len(got) > 0 {
		t.Errorf("another key got %d bytes, %v", len(got), err)
	}
	// What a listener on the way hears has nothing of the content in it, and is
	// another each time.
	transfer.From = source(s, key)
	first, second := overheard(t, transfer), overheard(t, transfer)
	for _, heard := range [][]byte{first, second} {
		if len(heard) < len(want) || bytes.Contains(heard, want[1000:1016]) {
			t.Errorf("of %d bytes on the way some are the content's", len(heard))
		}
	}
	if bytes.Equal(first[100:], second[100:]) {
		t.Error("two connections have the same stream")
	}
	// A request that was overheard opens nothing a second time.
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", itoa(transfer.From.Port)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	old := request{nonce: newNonce()}
	copy(old.sum[:], mustHex(transfer.SHA256))
	c.Write(old.encode(key, make([]byte, nonceSize))) // made for another nonce of the seed
	if got, _ := io.ReadAll(c); len(got) != nonceSize {
		t.Errorf("a request for another connection got %d bytes", len(got))
	}
}

// overheard fetches through a proxy and gives what the seed sent.
func overheard(t *testing.T, transfer wire.Transfer) []byte {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var heard bytes.Buffer
	var proxy sync.WaitGroup
	to := transfer.From.Port
	proxy.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		up, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", itoa(to)))
		if err != nil {
			return
		}
		defer up.Close()
		go io.Copy(up, c)
		io.Copy(io.MultiWriter(c, &heard), up)
	})
	from := *transfer.From
	from.Port = l.Addr().(*net.TCPAddr).Port
	transfer.From = &from
	if _, err := fetched(t, transfer, 0); err != nil {
		t.Fatal(err)
	}
	proxy.Wait()
	return heard.Bytes()
}

// A seed that has something else than was promised gives a host nothing of it.
func TestWrongBytesAreNotTaken(t *testing.T) {
	s, key, dir := start(t)
	want, transfer := content(3 * testChunk)
	f, err := s.Add(transfer, []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(want)
	bad[testChunk+5] ^= 1
	if err := f.Append(bytes.NewReader(bad), int64(len(bad))); err != nil {
		t.Fatal(err)
	}
	transfer.From = source(s, key)
	if got, err := fetched(t, transfer, 0); err == nil || !bytes.Equal(got, want[:testChunk]) {
		t.Errorf("%d bytes were taken, %v; the first chunk alone is right", len(got), err)
	}
}

// A seed that ends, or will not get the rest, lets its hosts go.
func TestHostsAreLetGo(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(s *Server, f *File)
	}{
		{"the seed ends", func(s *Server, _ *File) { s.Close() }},
		{"the controller's stream breaks", func(_ *Server, f *File) { f.Append(bytes.NewReader(nil), 10) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, key, dir := start(t)
			want, transfer := content(3 * testChunk)
			f, err := s.Add(transfer, []string{dir})
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Append(bytes.NewReader(want[:testChunk+7]), testChunk+7); err != nil {
				t.Fatal(err)
			}
			transfer.From = source(s, key)
			var got int
			err = Fetch(t.Context(), transfer, 0, func(p []byte) error {
				got += len(p)
				go tt.end(s, f)
				return nil
			})
			if err == nil || got != testChunk {
				t.Errorf("%d bytes came, %v", got, err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	s, key, dir := start(t)
	_, transfer := content(testChunk)
	huge := transfer
	huge.Size = 1 << 60
	if _, err := s.Add(huge, []string{dir}); err == nil || wire.AsError(err, "").Kind != wire.KindNoSpace {
		t.Errorf("a transfer that no disk holds gives %v", err)
	}
	if _, err := Listen(key, s.Where().Port); err == nil || wire.AsError(err, "").Kind != wire.KindHost {
		t.Errorf("a port that is taken gives %v", err)
	}
	if _, err := Listen(key[1:], 0); err == nil {
		t.Error("a short key was taken")
	}
	if _, err := s.Add(transfer, []string{dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(transfer, []string{dir}); err == nil {
		t.Error("the same transfer was taken twice")
	}
	transfer.From = source(s, key)
	_, other := content(2 * testChunk)
	other.From = transfer.From
	if _, err := fetched(t, other, 0); err == nil {
		t.Error("a transfer that the seed does not have was fetched")
	}
	nobody := *transfer.From
	nobody.Port = 1
	transfer.From = &nobody
	if _, err := fetched(t, transfer, 0); err == nil {
		t.Error("a port where nobody listens gave something")
	}
}

// What this host calls its own addresses are those that package net knows.
func TestAddresses(t *testing.T) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, a := range all {
		if ip := a.(*net.IPNet).IP; ip.IsGlobalUnicast() {
			want = append(want, ip.String())
		}
	}
	for _, a := range addresses() {
		got = append(got, net.IP(a).String())
	}
	for _, a := range want {
		if !slices.Contains(got, a) {
			t.Errorf("%s is missing among %v", a, got)
		}
	}
	for _, a := range got {
		if !slices.Contains(want, a) {
			t.Errorf("%s is none of %v", a, want)
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func mustHex(s string) []byte {
	b, _ := hex.DecodeString(s)
	return b
}
