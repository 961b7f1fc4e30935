package mirror

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofleet/gofleet/controller/internal/bundle"
)

// metrics counts, for Prometheus. Its labels come from closed lists: kinds,
// and the status codes that there are.
type metrics struct {
	list       *bundle.List
	begun      time.Time
	inFlight   atomic.Int64
	toolchains atomic.Int64
	changed    atomic.Int64

	mu       sync.Mutex
	requests map[answer]int64
	bytes    map[kind]int64
	seconds  map[kind]float64
}

type answer struct {
	kind kind
	code int
}

func newMetrics(l *bundle.List) *metrics {
	return &metrics{list: l, begun: time.Now(), requests: map[answer]int64{}, bytes: map[kind]int64{}, seconds: map[kind]float64{}}
}

func (m *metrics) begin() { m.inFlight.Add(1) }

func (m *metrics) end(k kind, w *recorder) {
	m.inFlight.Add(-1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[answer{k, w.code}]++
	m.bytes[k] += w.bytes
	m.seconds[k] += time.Since(w.begun).Seconds()
}

func (s *Server) showMetrics(w *recorder, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(s.metrics.text()))
}

// text is everything in Prometheus' text format.
func (m *metrics) text() string {
	var b strings.Builder
	family := func(name, kind, help string) {
		fmt.Fprintf(&b, "# HELP gofleet_mirror_%s %s\n# TYPE gofleet_mirror_%s %s\n", name, help, name, kind)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	family("requests_total", "counter", "Requests answered.")
	var answers []answer
	for a := range m.requests {
		answers = append(answers, a)
	}
	slices.SortFunc(answers, func(a, b answer) int {
		if c := strings.Compare(string(a.kind), string(b.kind)); c != 0 {
			return c
		}
		return a.code - b.code
	})
	for _, a := range answers {
		fmt.Fprintf(&b, "gofleet_mirror_requests_total{kind=%q,code=\"%d\"} %d\n", a.kind, a.code, m.requests[a])
	}
	var kinds []kind
	for k := range m.bytes {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	family("response_bytes_total", "counter", "Bytes of bodies sent.")
	for _, k := range kinds {
		fmt.Fprintf(&b, "gofleet_mirror_response_bytes_total{kind=%q} %d\n", k, m.bytes[k])
	}
	family("request_seconds_total", "counter", "Time spent on answering.")
	for _, k := range kinds {
		fmt.Fprintf(&b, "gofleet_mirror_request_seconds_total{kind=%q} %g\n", k, m.seconds[k])
	}
	for _, one := range []struct {
		name, kind, help string
		value            int64
	}{
		{"requests_in_flight", "gauge", "Requests being answered.", m.inFlight.Load()},
		{"toolchains_made_total", "counter", "Toolchain modules made of archives.", m.toolchains.Load()},
		{"changed_total", "counter", "Answers refused because the bundle is not what was checked.", m.changed.Load()},
		{"start_time_seconds", "gauge", "When this process began, Unix time.", m.begun.Unix()},
		{"bundle_archives", "gauge", "Go archives in the bundle.", int64(len(m.list.Archives))},
		{"bundle_modules", "gauge", "Modules in the bundle.", int64(len(m.list.Modules))},
		{"bundle_bytes", "gauge", "Size of the bundle's content.", m.list.Size},
	} {
		family(one.name, one.kind, one.help)
		fmt.Fprintf(&b, "gofleet_mirror_%s %d\n", one.name, one.value)
	}
	return b.String()
}
