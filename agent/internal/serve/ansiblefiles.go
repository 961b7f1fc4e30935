package serve

import (
	"slices"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// ansibleFiles are the file trees that the action plugin offers, by part. With
// nil it has offered none yet.
type ansibleFiles map[wire.Part]*ansibleTree

// ansibleTree is a file tree that is offered: modules, sources, or packages.
type ansibleTree struct {
	Release  wire.Release   `json:"release"`
	Manifest []byte         `json:"manifest,omitempty"` // packed, once it was asked for
	Index    *ansibleIndex  `json:"index,omitempty"`    // likewise
	Lacks    [][2]int       `json:"lacks,omitempty"`    // what Transfer was made for
	Transfer *wire.Transfer `json:"transfer,omitempty"`

	// Packages need not be there, unless a host lacks some.
	None string `json:"none,omitempty"` // why there are none, and nothing of the above
	Hint string `json:"hint,omitempty"` // the way out of that
}

// ansibleIndex is one small file of a tree.
type ansibleIndex struct {
	Name    string `json:"name"`
	Content []byte `json:"content,omitempty"` // packed
}

// offer is what the job is offered of a part, or nil.
func (f ansibleFiles) offer(p wire.Part) *wire.Release {
	if t := f[p]; t != nil && t.None == "" {
		return &t.Release
	}
	return nil
}

// offerPackages tells the job which packages there are, or why there are none.
func (r *ansibleRun) offerPackages(j *job) {
	j.task.Packages = r.control.Files.offer(wire.PartPackages)
	if t := r.control.Files[wire.PartPackages]; t != nil {
		j.task.NoPackages, j.packaging.hint = t.None, t.Hint
	} else if r.module {
		j.task.NoPackages = "they lie on the controller, and nobody is there to bring them"
		j.packaging.hint = "use gofleet.golang.toolchain, whose action plugin brings them, or gofleet apply"
	}
}

// filesQuestion has all that finding and judging a file tree needs.
type filesQuestion struct {
	Part wire.Part         `json:"part"`
	From string            `json:"from"`                   // the bundle, the directory of sources, or gofleet_archives
	Keys []string          `json:"trusted_keys,omitempty"` // whose bundles are taken
	Env  map[string]string `json:"env,omitempty"`          // that says which modules nobody can prove
}

// indexQuestion asks for one small file of a part.
type indexQuestion struct {
	Part wire.Part `json:"part"`
	Name string    `json:"name"`
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
	if len(s.Packages) > 0 {
		all = append(all, filesQuestion{Part: wire.PartPackages, From: s.Archives, Keys: s.TrustedKeys})
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

// index answers the job that wants one small file of a part, or asks for it.
func (r *ansibleRun) index(p wire.Part, name string) error {
	t := r.control.Files[p]
	if t == nil || t.Index == nil || t.Index.Name != name {
		r.question.Index = &indexQuestion{Part: p, Name: name}
		return errAsked
	}
	r.session.trees <- t.Index.Content
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
