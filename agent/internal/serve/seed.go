package serve

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofleet/gofleet/agent/internal/seed"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/wire"
)

// seed serves other hosts until the controller ends it or goes away. Nothing
// is left then: what it kept has no name in any directory.
func (s *session) seed(ctx context.Context, task *wire.Task) error {
	err := s.serveSite(ctx, task)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	report := wire.Report{Status: wire.Failed, Error: wire.AsError(err, wire.KindHost)}
	return s.out.Write(wire.Event{Report: &report})
}

func (s *session) serveSite(ctx context.Context, task *wire.Task) error {
	if task.Seed == nil {
		return wire.NewError(wire.KindProtocol, errors.New("the task has no seed"), "")
	}
	server, err := seed.Listen(task.Seed.Key, task.Seed.Port)
	if err != nil {
		return err
	}
	defer server.Close()
	where := server.Where()
	if err := s.out.Write(wire.Event{Serving: &where}); err != nil {
		return err
	}
	defer s.receiveInto(nil)
	for {
		select {
		case t := <-s.sends:
			file, err := server.Add(t, seedDirs(task.Spec.Root))
			if err != nil {
				return err
			}
			s.receiveInto(file)
			if err := s.out.Write(wire.Event{Need: &wire.Need{}}); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// seedDirs are where a seed may keep a transfer, the best first: where
// toolchains are, which is a disk, and what may be memory last.
func seedDirs(root string) []string {
	dirs := []string{root, filepath.Dir(root), "/var/tmp"}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, home)
	}
	return append(dirs, os.TempDir())
}

// fetch brings the transfer from the seed. What does not come from there is
// asked of the controller. The function that it returns ends it.
func (j *job) fetch(ctx context.Context, up *toolchain.Upload, t wire.Transfer, part wire.Part) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	need := up.Need()
	var work sync.WaitGroup
	work.Go(func() {
		err := seed.Fetch(ctx, t, need.Offset, func(chunk []byte) error {
			if err := up.Append(bytes.NewReader(chunk), int64(len(chunk))); err != nil {
				return err
			}
			need.Offset += int64(len(chunk))
			return j.out.Write(wire.Event{Fetched: need.Offset})
		})
		if err != nil && ctx.Err() == nil {
			need.Lost = err.Error()
			j.out.Write(wire.Event{Need: &need, Part: part})
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}
