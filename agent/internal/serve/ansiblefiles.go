package serve

import (
	"slices"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// ansibleFiles are the file trees that the action plugin offers, by part. With
// nil it has offered none yet.
type ansibleFiles map[wire.Part]*ansibleTree

// ansibleTree is a file tree that is offered: modules, or sources.
type ansibleTree struct {
	Release  wire.Release   `json:"release"`
	Manifest []byte         `json:"manifest,omitempty"` // packed, once it was asked for
	Lacks    [][2]int       `json:"lacks,omitempty"`    // what Transfer was made for
	Transfer *wire.Transfer `json:"transfer,omitempty"`
}

// offer is what the job is offered of a part, or nil.
func (f ansibleFiles) offer(p wire.Part) *wire.Release {
	if t := f[p]; t != nil {
		return &t.Release
	}
	return nil
}

// filesQuestion has all that finding and judging a file tree needs.
type filesQuestion struct {
	Part wire.Part         `json:"part"`
	From string            `json:"from"`                   // the bundle, or the directory of sources
	Keys []string          `json:"trusted_keys,omitempty"` // whose bundles are taken
	Env  map[string]string `json:"env,omitempty"`          // that says which modules nobody can prove
}

// lacksQuestion asks for files of a part's list.
type lacksQuestion struct {
	Part  wire.Part `json:"part"`
	Lacks [][2]int  `json:"lacks"` // as in wire.Event
}

// files asks for the file trees that a host is to have.
func (o *order) files() []filesQuestion {
	if o.action != wire.Apply && o.action != wire.Audit {
		return nil
	}
	return filesFor(o.spec)
}

func filesFor(s *spec.Spec) (all []filesQuestion) {
	if s.Modules != nil {
		env := map[string]string{}
		for _, name := range []string{"GONOSUMDB", "GOPRIVATE", "GOSUMDB"} {
			if value := s.Env[name]; value != "" {
				env[name] = value
			}
		}
		all = append(all, filesQuestion{Part: wire.PartModules, From: s.Modules.From, Keys: s.TrustedKeys, Env: env})
	}
	if s.Gopath != nil {
		all = append(all, filesQuestion{Part: wire.PartGopath, From: s.Gopath.Sources})
	}
	return all
}

// list answers the job that wants to compare what it has, or asks for the list.
func (r *ansibleRun) list(p wire.Part) error {
	t := r.control.Files[p]
	if t == nil || t.Manifest == nil {
		r.question.Compare = p
		return errAsked
	}
	r.session.trees <- t.Manifest
	return nil
}

// difference answers the job that lacks files, or asks for them. A host that
// was changed meanwhile may lack others than those that were made.
func (r *ansibleRun) difference(p wire.Part, lacks [][2]int) error {
	t := r.control.Files[p]
	if t == nil || t.Transfer == nil || !slices.Equal(t.Lacks, lacks) {
		r.question.Lacks = &lacksQuestion{Part: p, Lacks: lacks}
		return errAsked
	}
	r.session.sends <- *t.Transfer
	return nil
}
