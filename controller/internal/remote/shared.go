package remote

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// shared is what the connections of a Dialer have in common.
type shared struct {
	mu       sync.Mutex
	warned   map[string]bool
	configs  map[string]func() ([]configLine, error)
	hostKeys map[string]*hostKeys
	revoked  map[string]func() ([]*knownLine, error)
	keyFiles map[string]*keyFile
	agents   map[string]*agentSocket
	jumps    map[string]*jump
	closed   bool

	admission admission
}

// maxWarnings bounds what is kept to warn only once.
const maxWarnings = 10000

func (s *shared) firstWarning(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.warned[text] || len(s.warned) >= maxWarnings {
		return false
	}
	put(&s.warned, text, true)
	return true
}

// put sets m[k], making the map where it is nil.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// config reads the ssh_config files once: file (ssh -F) if not empty, else
// the user's and the system's.
func (s *shared) config(d *Dialer, file string) ([]configLine, error) {
	s.mu.Lock()
	load, ok := s.configs[file]
	if !ok {
		load = sync.OnceValues(func() ([]configLine, error) { return readConfigs(d, file) })
		put(&s.configs, file, load)
	}
	s.mu.Unlock()
	return load()
}

func readConfigs(d *Dialer, file string) ([]configLine, error) {
	user := configReader{home: d.home(), dir: filepath.Join(d.home(), ".ssh")}
	system := configReader{home: d.home(), dir: "/etc/ssh"}
	type source struct {
		configReader
		file string
	}
	sources := []source{{user, filepath.Join(user.dir, "config")}, {system, "/etc/ssh/ssh_config"}}
	if d.ConfigFiles != nil {
		sources = nil
		for _, f := range d.ConfigFiles {
			sources = append(sources, source{user, f})
		}
	}
	if strings.EqualFold(file, "none") {
		return nil, nil
	}
	if file != "" {
		file = expandHome(file, d.home())
		if _, err := os.Stat(file); err != nil {
			return nil, err // ssh -F refuses a missing file too
		}
		sources = []source{{user, file}}
	}
	var lines []configLine
	for _, src := range sources {
		more, err := src.read(src.file, 0)
		if err != nil {
			return nil, err
		}
		// Each file begins outside of any Host, as an Include does.
		lines = append(lines, configLine{keyword: includeBegin}, configLine{keyword: includeFile})
		lines = append(append(lines, more...), configLine{keyword: includeEnd})
	}
	return lines, nil
}

func (s *shared) close() error {
	s.mu.Lock()
	s.closed = true
	jumps, agents := s.jumps, s.agents
	s.jumps, s.agents = nil, nil
	s.mu.Unlock()
	for _, j := range jumps {
		j.close()
	}
	for _, a := range agents {
		a.close()
	}
	return nil
}
