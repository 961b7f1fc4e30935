package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// cache keeps what is dear to find out, in one directory that only this user
// can write:
//
//	archives/<sha256>/inspection   what one pass over the archive found out
//	archives/<sha256>/manifest     its tree manifest
//	archives/<sha256>/zstd         its zstd form, and zstd.json about it
//	archives/<sha256>/module.zip   the toolchain module, and module.zip.json about it
//	archives/<sha256>/pgp-<…>      a signature that was found good
//	index/<sha256 of the path>     which file was which archive
//	downloads/<sha256 of the URL>/ archives from the inner network
//	sumdb/                         the newest tree head seen
//
// Every file is made under another name and renamed, so that several
// controllers can share the cache. Each carries its own sum; what does not fit
// counts as not there and is made anew.
type cache struct {
	dir string
	now func() time.Time
}

// newCache takes dir, or the user's cache directory when it is empty.
func newCache(dir string) (cache, error) {
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return cache{}, fmt.Errorf("find the user's cache directory: %w", err)
		}
		dir = filepath.Join(base, "gofleet")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cache{}, fmt.Errorf("make cache: %w", err)
	}
	return cache{dir, time.Now}, private(dir)
}

// CacheDir makes, if need be, the directory in which this package keeps what is
// dear to find out, "" being the default one, and gives its path. Others may
// keep such things beside it.
func CacheDir(dir string) (string, error) {
	c, err := newCache(dir)
	return c.dir, err
}

// sub makes a directory of the cache.
func (c cache) sub(parts ...string) (string, error) {
	dir := filepath.Join(append([]string{c.dir}, parts...)...)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make cache: %w", err)
	}
	return dir, nil
}

func (c cache) entry(sha256 string) string { return filepath.Join(c.dir, "archives", sha256) }

// known gives the inspection of a file that was read before and has not been
// touched since, or nil. This spares hashing 67 MB again in every run. The
// host hashes what travels anyway, so a file that lies about its times gains
// nothing: what arrives must be what was inspected.
func (c cache) known(s Stamp) *inspection {
	var seen indexEntry
	if readSealed(c.indexFile(s.Path), &seen) != nil || seen.Stamp != s {
		return nil
	}
	return c.load(seen.SHA256)
}

// sameContent gives the inspection of an archive that was read before, from
// another place or before it was touched: then its sum is all that has to be
// found out. Only a file as long as a known archive is worth that.
func (c cache) sameContent(f io.ReaderAt, size int64) *inspection {
	entries, _ := filepath.Glob(filepath.Join(c.dir, "archives", "*"))
	for _, entry := range entries {
		var in inspection
		if readSealed(filepath.Join(entry, "inspection"), &in) != nil || in.Size != size {
			continue
		}
		if sum, n, err := sumFile(f); err == nil && n == size {
			return c.load(sum)
		}
	}
	return nil
}

type indexEntry struct {
	Stamp  Stamp  `json:"stamp"`
	SHA256 string `json:"sha256"`
}

func (c cache) indexFile(path string) string {
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(c.dir, "index", hex.EncodeToString(sum[:16]))
}

// load gives the inspection of the archive with that sum, or nil.
func (c cache) load(sha256sum string) *inspection {
	in := &inspection{}
	if readSealed(filepath.Join(c.entry(sha256sum), "inspection"), in) != nil || in.SHA256 != sha256sum {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(c.entry(sha256sum), "manifest"))
	if err != nil {
		return nil
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != in.Tree.SHA256 {
		return nil
	}
	in.text = text
	c.used(sha256sum)
	return in
}

// unused is how long an archive's entry stays that no run has asked for.
const unused = 60 * 24 * time.Hour

// used notes, once a day, that an archive's entry is still wanted.
func (c cache) used(archive string) {
	path := filepath.Join(c.entry(archive), "inspection")
	if st, err := os.Stat(path); err == nil && c.now().Sub(st.ModTime()) > 24*time.Hour {
		_ = os.Chtimes(path, c.now(), c.now())
	}
}

// sweep removes entries that have not been used for long, and what a crash
// left half made. What it cannot remove, the next sweep may.
func (c cache) sweep() {
	old := func(path string, age time.Duration) bool {
		st, err := os.Stat(path)
		return err == nil && c.now().Sub(st.ModTime()) > age
	}
	entries, _ := filepath.Glob(filepath.Join(c.dir, "archives", "*"))
	for _, entry := range entries {
		if old(filepath.Join(entry, "inspection"), unused) {
			os.RemoveAll(entry)
		}
	}
	halves, _ := filepath.Glob(filepath.Join(c.dir, "new", "*"))
	for _, half := range halves {
		if old(half, 24*time.Hour) {
			os.Remove(half)
		}
	}
}

// store keeps the inspection of the file with the stamp.
func (c cache) store(s Stamp, in *inspection) error {
	c.sweep()
	dir, err := c.sub("archives", in.SHA256)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "manifest"), in.text); err != nil {
		return err
	}
	if err := writeSealed(filepath.Join(dir, "inspection"), in); err != nil {
		return err
	}
	return c.note(s, in)
}

// note keeps that the file with the stamp is the archive that was inspected. A
// file that was changed just now is not noted: see Stamp.Settled.
func (c cache) note(s Stamp, in *inspection) error {
	if !s.Settled(c.now()) {
		return nil
	}
	if _, err := c.sub("index"); err != nil {
		return err
	}
	return writeSealed(c.indexFile(s.Path), indexEntry{s, in.SHA256})
}

// writeFile makes or replaces path at once.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		os.Remove(f.Name())
		return err
	}
	return nil
}

// writeSealed writes v as JSON behind a line with its sha256.
func writeSealed(path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	return writeFile(path, append(hex.AppendEncode(nil, sum[:]), append([]byte{'\n'}, body...)...))
}

// readSealed reads what writeSealed wrote, and nothing else.
func readSealed(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	seal, body, _ := bytes.Cut(data, []byte{'\n'})
	if sum := sha256.Sum256(body); string(seal) != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%s is damaged", path)
	}
	return json.Unmarshal(body, v)
}
