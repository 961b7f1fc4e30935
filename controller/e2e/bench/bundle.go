package main

import (
	"archive/zip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/lab"
	"github.com/gofleet/gofleet/controller/internal/minisign"
)

// blobSize is the content of one made-up module, which does not compress.
const blobSize = 250_000_000

// enough is the share of the disk's or the hash's speed, whichever is slower,
// at which bundles are meant to be made and checked.
const enough = 0.70

// bundles makes a bundle of size bytes, beside one archive made-up modules that
// exist nowhere else, proves it and installs from it, and prints speeds and
// peak memory. The speeds that it is set against are measured before and after.
func (b *bench) bundles(ctx context.Context, size int64) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer os.RemoveAll(b.work)
	dir := b.disk
	if dir == "" {
		dir = "/var/tmp"
	}
	dir, err := os.MkdirTemp(dir, "gofleet-bundle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "site.bundle")

	var m machine
	if err := m.measure(dir); err != nil {
		return err
	}
	create := exec.CommandContext(ctx, "/proc/self/exe", "-bundle-create", file, "-bundle", fmt.Sprint(size/1e6), "-archive", b.archive)
	made, err := measured(create)
	if err != nil {
		return err
	}
	var created bundle.Created
	if err := json.Unmarshal(made.out, &created); err != nil {
		return fmt.Errorf("bundle create: %w", err)
	}
	fmt.Printf("a bundle of %s\n", spec.FormatSize(created.Size))
	made.print("create", "")
	quick, seconds, err := b.verifyBundle(ctx, file, "--quick")
	if err != nil {
		return err
	}
	quick.print("verify --quick", "")
	applied, err := b.applyBundle(ctx, file)
	if err != nil {
		return err
	}
	applied.print("apply to one host", ", the bundle checked on the way")
	proved, _, err := b.verifyBundle(ctx, file)
	if err != nil {
		return err
	}
	proved.print("verify", ", every byte and every proof")
	if err := m.measure(dir); err != nil {
		return err
	}
	m.print()
	rate("create", created.Size, created.Seconds, min(m.one(), m.write()))
	rate("verify --quick", created.Size, seconds, min(m.all(), m.read()))
	return nil
}

// rate sets a speed against the one that bounds it.
func rate(what string, size int64, seconds, bound float64) {
	speed := float64(size) / 1e6 / seconds
	verdict := "met"
	if speed < enough*bound {
		verdict = "missed"
	}
	fmt.Printf("  %s: %.0f MB/s, %.2f of the machine's %.0f, at least %.2f: %s\n", what, speed, speed/bound, bound, enough, verdict)
}

// verifyBundle proves a bundle that is not in memory, and gives the seconds
// that reading took.
func (b *bench) verifyBundle(ctx context.Context, file string, more ...string) (usage, float64, error) {
	if err := dropCache(file); err != nil {
		return usage{}, 0, err
	}
	args := append([]string{"bundle", "verify", "-o", "json", "--trusted-key", "any", file}, more...)
	u, err := measured(exec.CommandContext(ctx, b.gofleet, args...))
	if err != nil {
		return u, 0, err
	}
	var said struct{ Bundles []bundle.Verification }
	if err := json.Unmarshal(u.out, &said); err != nil {
		return u, 0, fmt.Errorf("bundle verify: %w", err)
	}
	if len(said.Bundles) != 1 || !said.Bundles[0].Good {
		return u, 0, fmt.Errorf("bundle verify says %.300q", u.out)
	}
	return u, said.Bundles[0].Seconds, nil
}

// applyBundle installs on one fresh host from a bundle that nobody has checked
// yet.
func (b *bench) applyBundle(ctx context.Context, file string) (u usage, err error) {
	if err := dropCache(file); err != nil {
		return u, err
	}
	vars, err := json.Marshal(map[string]any{
		"gofleet_go_version": b.version, "gofleet_archives": file, "gofleet_trusted_keys": []string{"any"},
	})
	if err != nil {
		return u, err
	}
	err = b.withHosts(ctx, 1, func(l *lab.Lab) error {
		cmd := exec.CommandContext(ctx, b.gofleet, "apply", "-i", l.InventoryFile(), "-b", "-e", string(vars))
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(b.work, "state"), "XDG_CACHE_HOME="+filepath.Join(b.work, "cache"))
		u, err = measured(cmd)
		return err
	})
	return u, err
}

// usage is what a program took.
type usage struct {
	out     []byte
	seconds float64
	peak    int64 // bytes
}

func (u usage) print(what, note string) {
	fmt.Printf("  %s: %.1f s, peak memory %s%s\n", what, u.seconds, spec.FormatSize(u.peak), note)
}

func measured(cmd *exec.Cmd) (usage, error) {
	cmd.Stderr = os.Stderr
	begun := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return usage{}, fmt.Errorf("%s: %w", cmd, err)
	}
	r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return usage{}, errors.New("this system tells no peak memory")
	}
	return usage{out, time.Since(begun).Seconds(), r.Maxrss << 10}, nil
}

// machine has speeds in MB/s; each measurement adds to the mean.
type machine struct {
	times  int
	totals [4]float64
}

func (m *machine) one() float64   { return m.totals[0] / float64(m.times) }
func (m *machine) all() float64   { return m.totals[1] / float64(m.times) }
func (m *machine) write() float64 { return m.totals[2] / float64(m.times) }
func (m *machine) read() float64  { return m.totals[3] / float64(m.times) }

func (m *machine) print() {
	fmt.Printf("this machine: sha256 %.0f MB/s in one stream, %.0f with %d CPUs; its disk writes %.0f MB/s and reads %.0f\n",
		m.one(), m.all(), runtime.GOMAXPROCS(0), m.write(), m.read())
}

func (m *machine) measure(dir string) error {
	const size = 512 << 20
	buf := make([]byte, 1<<20)
	if _, err := rand.Read(buf); err != nil {
		return err
	}
	hash := func() {
		h := sha256.New()
		for range size / len(buf) {
			h.Write(buf)
		}
	}
	speed := func(bytes int, begun time.Time) float64 { return float64(bytes) / 1e6 / time.Since(begun).Seconds() }
	begun := time.Now()
	hash()
	one := speed(size, begun)
	n := runtime.GOMAXPROCS(0)
	var group sync.WaitGroup
	begun = time.Now()
	for range n {
		group.Go(hash)
	}
	group.Wait()
	all := speed(n*size, begun)

	file := filepath.Join(dir, "speed")
	defer os.Remove(file)
	begun = time.Now()
	err := writeFile(file, func(w io.Writer) error {
		for range size / len(buf) {
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	written := speed(size, begun)
	if err := dropCache(file); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	begun = time.Now()
	for {
		if _, err := f.Read(buf); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	m.times++
	for i, v := range []float64{one, all, written, speed(size, begun)} {
		m.totals[i] += v
	}
	return nil
}

// writeFile writes a file to the disk, not only to memory.
func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Sync(), f.Close())
}

// dropCache makes the next reader of the file read the disk.
func dropCache(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// createBundle is the process whose memory is measured: what gofleet bundle
// create does once everything is at hand.
func createBundle(ctx context.Context, file, archive string, size int64) error {
	key, err := minisign.Generate(rand.Reader)
	if err != nil {
		return err
	}
	o := bundle.CreateOptions{Output: file, MadeBy: "bench", Key: &key}
	left := size
	for _, suffix := range []string{"", ".evidence"} {
		st, err := os.Stat(archive + suffix)
		if err != nil {
			return err
		}
		o.Extra = append(o.Extra, bundle.Source{Path: path.Join(bundle.ArchivesDir, st.Name()), Mode: 0o644, Size: st.Size(),
			Open: func() (io.ReadCloser, error) { return os.Open(archive + suffix) }})
		left -= st.Size()
	}
	random, err := newBlob()
	if err != nil {
		return err
	}
	for i := 0; left > 0; i++ {
		o.Extra = append(o.Extra, random.module(i)...)
		left -= blobSize
	}
	made, err := bundle.Create(ctx, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(made)
}

// blob repeats one megabyte, which no compressor that looks back less far sees.
type blob struct {
	random []byte
	sum    uint32 // of the whole content
}

func newBlob() (*blob, error) {
	b := &blob{random: make([]byte, 1_000_000)}
	if _, err := rand.Read(b.random); err != nil {
		return nil, err
	}
	for range blobSize / len(b.random) {
		b.sum = crc32.Update(b.sum, crc32.IEEETable, b.random)
	}
	return b, nil
}

// module is the i-th made-up module.
func (b *blob) module(i int) []bundle.Source {
	version := fmt.Sprintf("v1.0.%d", i)
	base := path.Join(bundle.ModulesDir, "bench.example/blob/@v", version)
	var count counter
	b.zip(&count, version, false)
	return []bundle.Source{
		bundle.BytesSource(base+".info", 0o644, fmt.Appendf(nil, "{\"Version\":%q}", version)),
		bundle.BytesSource(base+".mod", 0o644, []byte("module bench.example/blob\n")),
		{Path: base + ".zip", Mode: 0o644, Size: int64(count), Open: func() (io.ReadCloser, error) {
			r, w := io.Pipe()
			go func() { w.CloseWithError(b.zip(w, version, true)) }()
			return r, nil
		}},
	}
}

// zip writes the module's zip; without content it says only how long it is.
func (b *blob) zip(w io.Writer, version string, content bool) error {
	z := zip.NewWriter(w)
	f, err := z.CreateRaw(&zip.FileHeader{Name: "bench.example/blob@" + version + "/blob", Method: zip.Store,
		CRC32: b.sum, CompressedSize64: blobSize, UncompressedSize64: blobSize})
	if err != nil {
		return err
	}
	for n := 0; n < blobSize; n += len(b.random) {
		if c, ok := w.(*counter); ok && !content {
			*c += counter(len(b.random))
		} else if _, err := f.Write(b.random); err != nil {
			return err
		}
	}
	return z.Close()
}

// counter counts what is written.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
