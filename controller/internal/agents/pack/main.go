// Command pack compresses built agents and writes the index that package
// agents embeds. It is run by `make agents`:
//
//	go run ./controller/internal/agents/pack -o controller/internal/agents/bin DIR
//
// where DIR holds gofleet-agent-<os>-<arch> programs. The same programs give
// the same bytes.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("pack: ")
	out := flag.String("o", ".", "directory to write to")
	flag.Parse()
	if err := pack(flag.Arg(0), *out); err != nil {
		log.Fatal(err)
	}
}

func pack(dir, out string) error {
	programs, err := filepath.Glob(filepath.Join(dir, "gofleet-agent-*"))
	if err != nil {
		return err
	}
	if len(programs) == 0 {
		return fmt.Errorf("no gofleet-agent-* in %q", dir)
	}
	var index strings.Builder
	for _, program := range programs {
		name := filepath.Base(program)
		p, err := spec.ParsePlatform(strings.TrimPrefix(name, "gofleet-agent-"))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		var gz bytes.Buffer
		w, err := gzip.NewWriterLevel(&gz, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name+".gz"), gz.Bytes(), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&index, "%s %x %d\n", p, sha256.Sum256(b), len(b))
		fmt.Printf("%-28s %8d bytes, %8d compressed\n", name, len(b), gz.Len())
	}
	return os.WriteFile(filepath.Join(out, "index"), []byte(index.String()), 0o644)
}
