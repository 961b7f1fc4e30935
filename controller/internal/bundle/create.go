package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/minisign"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// CreateOptions say what goes into a bundle, from where, and what it becomes.
type CreateOptions struct {
	Output    string // file or directory
	Directory bool
	Split     int64 // bytes a part; 0: one file
	MadeBy    string
	Key       *minisign.SecretKey // nil: unsigned

	Versions  []string // "1.26.8", or "1.26" for its newest patch
	Platforms []spec.Platform
	Archives  string // directory with archives; what is not there is fetched into it

	// Fetch says where archives, modules and proofs come from. Its version,
	// platforms and directory are set by Create.
	Fetch release.FetchOptions

	// Modules are go.mod files, or their directories; what is needed to build
	// and test these modules goes into the bundle. ModCache is a module cache
	// that the go command fills for that.
	Modules  []string
	ModCache string

	// Packages go into the bundle for each of Distributions, with what they need
	// beyond a clean release. PackageMirror is an archive of the distribution,
	// "" being what this machine's apt uses; PackageCache is kept between runs.
	Packages      []spec.Package
	Distributions []Distribution
	PackageMirror string
	PackageCache  string

	Extra []Source // programs, agents, the collection

	Warn func(text string)
}

// Created says what Create has made.
type Created struct {
	Path    string
	Parts   int // 0: it was not split
	Files   int
	Size    int64 // of the content, bytes
	Seconds float64
}

// Create makes a bundle. Archives that are fetched, and the proofs for them,
// stay in the directory, so that a Create that was interrupted goes on where it
// was, and the next one is quick. There is a bundle only at the very end.
func Create(ctx context.Context, o CreateOptions) (*Created, error) {
	sources := slices.Clone(o.Extra)
	if err := o.checkPackages(); err != nil {
		return nil, err
	}
	w, err := o.writer() // where it cannot be written, nothing is fetched for it
	if err != nil {
		return nil, err
	}
	defer w.Close()
	packages, err := o.packages(ctx)
	if err != nil {
		return nil, err
	}
	sources = append(sources, packages...)
	archives, err := o.archives(ctx)
	if err != nil {
		return nil, err
	}
	sources = append(sources, archives...)
	var names []string
	for _, s := range archives {
		if _, err := release.ParseName(path.Base(s.Path)); err == nil {
			names = append(names, path.Base(s.Path))
		}
	}
	var modules []Source
	if len(o.Modules) > 0 {
		g, err := o.gather(ctx)
		if err != nil {
			return nil, err
		}
		modules, err = g.sources(ctx, &o, names)
		if err != nil {
			return nil, err
		}
	} else if modules, err = o.toolchainLog(ctx, names); err != nil {
		return nil, err
	}
	sources = append(sources, modules...)
	slices.SortFunc(sources, func(a, b Source) int { return strings.Compare(a.Path, b.Path) })
	if len(sources) == 0 {
		return nil, errors.New("nothing is to go into the bundle")
	}
	return o.write(ctx, w, sources)
}

// logPatience is how long a bundle without modules waits for the log.
const logPatience = time.Minute

// toolchainLog is what the checksum database has of the toolchains alone. go
// asks a GOPROXY for it before it takes a toolchain from there. Hosts do well
// without: the archives have their own evidence beside them.
func (o *CreateOptions) toolchainLog(ctx context.Context, archives []string) ([]Source, error) {
	patient, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	sources, err := (&gathered{}).log(patient, o, archives)
	if err != nil && ctx.Err() == nil && o.Warn != nil {
		o.Warn(fmt.Sprintf("the checksum database's log is not in the bundle: GOTOOLCHAIN=auto through gofleet serve will not verify: %v", err))
	}
	return sources, ctx.Err()
}

// write writes the sources and what is made of them.
func (o *CreateOptions) write(ctx context.Context, w *Writer, sources []Source) (*Created, error) {
	var total int64
	for _, s := range sources {
		total += s.Size
	}
	begun := time.Now()
	work := beginWork(o.Fetch.Progress, "write "+filepath.Base(o.Output))
	var done int64
	w.read = func(n int64) {
		done += n
		work.Set(done, total)
	}
	for _, s := range sources {
		if _, err := w.Add(ctx, s); err != nil {
			work.End(err)
			return nil, err
		}
	}
	_, err := w.Add(ctx, BytesSource(SBOMName, 0o644, newSBOM(o.MadeBy, w.Files())))
	if err == nil {
		err = w.Finish(o.Key)
	}
	work.End(err)
	if err != nil {
		return nil, err
	}
	made := &Created{Path: o.Output, Files: len(w.Files()), Size: total, Seconds: time.Since(begun).Seconds()}
	if t, ok := w.target.(*fileTarget); ok && o.Split > 0 {
		made.Parts = len(t.container.files)
	}
	return made, nil
}

func (o *CreateOptions) writer() (*Writer, error) {
	if o.Directory {
		return NewDirWriter(o.Output, o.MadeBy)
	}
	if st, err := os.Stat(o.Output); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("write bundle: %s is not a regular file", o.Output)
	}
	return NewFileWriter(o.Output, o.MadeBy, o.Split)
}

// archives fetches every release for every platform, and what proves it.
func (o *CreateOptions) archives(ctx context.Context) ([]Source, error) {
	var sources []Source
	seen := map[string]bool{}
	for _, v := range o.Versions {
		fetch := o.Fetch
		fetch.Version, fetch.Platforms, fetch.To = v, o.Platforms, o.Archives
		got, err := release.Fetch(ctx, fetch)
		if err != nil {
			return nil, err
		}
		for _, file := range got.Files {
			if seen[file.Path] {
				continue
			}
			seen[file.Path] = true
			if err := release.Prove(ctx, file.Path, o.Fetch); err != nil {
				if err := o.unproved(ctx, file, err); err != nil {
					return nil, err
				}
			}
			all, err := archiveSources(file)
			if err != nil {
				return nil, err
			}
			sources = append(sources, all...)
		}
	}
	return sources, nil
}

// unproved says what to do about an archive whose proof by the checksum
// database cannot be had: it still has the evidence that it was fetched by.
func (o *CreateOptions) unproved(ctx context.Context, file release.FetchedFile, err error) error {
	var refused *release.RefusedError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &refused):
		return err
	case !errors.Is(err, release.ErrNoModule) && o.Warn != nil:
		o.Warn(fmt.Sprintf("%s goes without a proof of the checksum database, by its other evidence alone (%s): %v", filepath.Base(file.Path), file.Evidence, err))
	}
	return nil
}

// archiveSources are an archive and what lies beside it.
func archiveSources(file release.FetchedFile) ([]Source, error) {
	var sources []Source
	for _, suffix := range []string{"", ".asc", release.EvidenceSuffix} {
		s, err := fileSource(path.Join(ArchivesDir, filepath.Base(file.Path)+suffix), file.Path+suffix, 0o644)
		if suffix != "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("write bundle: %w", err)
		}
		if suffix == "" {
			s.SHA256 = file.SHA256
		}
		sources = append(sources, s)
	}
	return sources, nil
}

// Program is a source for a program on this machine, of a platform.
func Program(file, name string, p spec.Platform) (Source, error) {
	to := path.Join(ProgramsDir, name+"-"+p.Dashed())
	if p.OS == "windows" {
		to += ".exe"
	}
	return fileSource(to, file, 0o755)
}

// Collection is a source for the tarball of the Ansible collection.
func Collection(file string) (Source, error) {
	return fileSource(path.Join(CollectionDir, filepath.Base(file)), file, 0o644)
}
