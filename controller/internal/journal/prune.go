package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Prune removes the runs beyond the newest keep and those that began longer
// ago than age, except those going on, and gives the ids of what is gone.
func (s Store) Prune(keep int, age time.Duration, now time.Time) ([]string, error) {
	ids, err := s.IDs()
	if err != nil {
		return nil, err
	}
	var gone []string
	for i, id := range ids { // the newest first
		begun, err := startOf(id)
		if err != nil || i < keep && now.Sub(begun) <= age {
			continue
		}
		removed, err := s.remove(id)
		if err != nil {
			return gone, fmt.Errorf("prune runs: %w", err)
		}
		if removed {
			gone = append(gone, id)
		}
	}
	return gone, nil
}

// remove takes a run away unless its process is alive. It holds the run's lock
// meanwhile, so that nobody begins to go on with it.
func (s Store) remove(id string) (bool, error) {
	f, err := os.OpenFile(s.path(id, eventsFile), os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it ended before its first word
	case err != nil:
		return false, err
	default:
		defer f.Close()
		if err := lock(f); errors.Is(err, ErrRunning) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, os.RemoveAll(s.path(id))
}
