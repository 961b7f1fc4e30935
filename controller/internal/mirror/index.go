package mirror

import (
	"html/template"
	"net/http"

	"github.com/gofleet/gofleet/controller/internal/bundle"
)

// page is what the index pages show.
type page struct {
	Archives  bool // only these
	Here      string
	List      *bundle.List
	Upstreams []string
}

var indexTemplate = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>gofleet mirror</title>
{{if not .Archives}}<h1>gofleet mirror</h1>
<p>Made by gofleet {{.List.MadeBy}}{{with .List.SignedBy}}, signed by {{.}}{{end}}.
<pre>GOPROXY={{.Here}}
GOSUMDB=sum.golang.org
gofleet_archives: {{.Here}}/archives</pre>
{{end}}<h2>Archives</h2>
<table>
{{range .List.Archives}}<tr><td><a href="/archives/{{.Name}}">{{.Name}}</a><td>{{.Size}}<td><code>{{.SHA256}}</code>
{{end}}</table>
{{if not .Archives}}<h2>Modules</h2>
<table>
{{range .List.Modules}}<tr><td>{{.Path}}<td>{{.Version}}<td>{{if .Public}}public{{else}}private{{end}}
{{end}}</table>
{{with .Upstreams}}<h2>Forwarded</h2>
<ul>
{{range .}}<li>{{.}}
{{end}}</ul>
{{end}}{{end}}`))

func (s *Server) index(w *recorder, r *http.Request)        { s.show(w, r, false) }
func (s *Server) archiveIndex(w *recorder, r *http.Request) { s.show(w, r, true) }

func (s *Server) show(w *recorder, r *http.Request, archives bool) {
	p := page{Archives: archives, Here: "http://" + r.Host, List: s.metrics.list}
	if r.TLS != nil {
		p.Here = "https://" + r.Host
	}
	for _, u := range s.upstreams {
		p.Upstreams = append(p.Upstreams, u.Pattern)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	if err := indexTemplate.Execute(w, p); err != nil {
		w.err = err
	}
}
