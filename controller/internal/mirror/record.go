package mirror

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// recorder is what one response was. While there is progress there is no limit
// to how long it takes; a client that takes nothing for writeTime is let go.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	begun   time.Time
	code    int
	bytes   int64
	err     error // for the log only
}

func newRecorder(w http.ResponseWriter) *recorder {
	return &recorder{ResponseWriter: w, control: http.NewResponseController(w), begun: time.Now()}
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(code int) {
	if code >= 200 && w.code == 0 {
		w.code = code
	}
	w.extend()
	w.ResponseWriter.WriteHeader(code)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	w.extend()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// extend gives the client more time. Writers in tests have no deadlines.
func (w *recorder) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(writeTime)) }

// say answers with a line of text, which go shows to its user.
func (w *recorder) say(code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n"))
}

// fail is say with a reason that only the log gets.
func (w *recorder) fail(code int, text string, err error) {
	w.err = err
	w.say(code, text)
}

// How much of a client's text the log takes.
const (
	loggedPath  = 300
	loggedAgent = 100
	loggedError = 1000
)

// access writes a request down. Query and credentials are not looked at.
func (s *Server) access(k kind, w *recorder, r *http.Request) {
	level := slog.LevelInfo
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	attrs := []slog.Attr{
		slog.String("client", host), slog.String("kind", string(k)),
		slog.String("method", bounded(r.Method, 20)), slog.String("path", bounded(r.URL.Path, loggedPath)),
		slog.Int("status", w.code), slog.Int64("bytes", w.bytes),
		slog.Float64("seconds", time.Since(w.begun).Seconds()), slog.String("agent", bounded(r.UserAgent(), loggedAgent)),
	}
	if w.code >= 500 || w.err != nil {
		level = slog.LevelError
	}
	if w.err != nil {
		attrs = append(attrs, slog.String("error", bounded(w.err.Error(), loggedError)))
	}
	s.log.LogAttrs(context.WithoutCancel(r.Context()), level, "request", attrs...)
}

// bounded cuts text; the log's JSON neutralises what is in it.
func bounded(text string, limit int) string {
	if len(text) > limit {
		return text[:limit] + "…"
	}
	return text
}
