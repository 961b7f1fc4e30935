package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// AnsibleOptions are those of one Ansible task.
type AnsibleOptions struct {
	// Arguments is Ansible's JSON object on one line. With the action plugin,
	// raw bytes of an archive may follow it.
	Arguments io.Reader
	Out       io.Writer
	Marker    string // if set, stands before the result, so that a banner is not taken for it
	LoginUID  int    // who may write the upload's file; -1 is not known
	Program   string // the name of the module's file, where Ansible runs the agent itself
	Version   string // gofleet's

	Fault func(point string) // as in Options
}

// control is what the action plugin adds to a module's arguments, and what
// the agent asks it for. The plugin does what gofleet does in a Run: it judges
// archives and brings them; the agent asks, and is started again with the
// answer.
type control struct {
	Prefix     string         `json:"prefix,omitempty"` // of the names of variables: "gofleet_" for an inventory's
	Host       string         `json:"host,omitempty"`
	Controller string         `json:"controller,omitempty"`
	Run        string         `json:"run,omitempty"`
	Now        time.Time      `json:"now,omitzero"`
	Release    *wire.Release  `json:"release,omitempty"`
	Transfer   *wire.Transfer `json:"transfer,omitempty"`
	Offers     []ansibleOffer `json:"offers,omitempty"` // for Release and Transfer, where the platform is not known
	Files      ansibleFiles   `json:"files,omitempty"`
	Part       wire.Part      `json:"part,omitempty"`    // whose bytes come, if not the archive's
	Rest       string         `json:"rest,omitempty"`    // a file on this host that has the transfer from Offset on
	Piece      int64          `json:"piece,omitempty"`   // this many bytes of it follow the arguments
	Offset     int64          `json:"offset,omitempty"`  // where Rest or Piece begin
	Confirm    string         `json:"confirm,omitempty"` // this is the fresh login that question.Prove asked for
	Restore    string         `json:"restore,omitempty"` // it could not be made
}

// ansibleOffer is an archive that the plugin would send to a host that needs
// it.
type ansibleOffer struct {
	Release  wire.Release  `json:"release"`
	Transfer wire.Transfer `json:"transfer"`
}

// choose takes from the offers the one for a platform.
func (c *control) choose(p spec.Platform) {
	for i := range c.Offers {
		if o := &c.Offers[i]; c.Release == nil && o.Release.Platform == p {
			c.Release, c.Transfer = &o.Release, &o.Transfer
		}
	}
}

// question is what a run cannot go on without.
type question struct {
	Archive *archiveQuestion `json:"archive,omitempty"` // which archive there is, and why it is believed
	Files   []filesQuestion  `json:"files,omitempty"`   // which file trees there are
	Compare wire.Part        `json:"compare,omitempty"` // the list of what one of them has
	Index   *indexQuestion   `json:"index,omitempty"`   // one small file of it
	Lacks   *lacksQuestion   `json:"lacks,omitempty"`   // what of it should travel
	Need    *needQuestion    `json:"need,omitempty"`    // bytes
	Prove   string           `json:"prove,omitempty"`   // beside a result: it holds once a fresh login has confirmed this token
}

// open tells whether the host's run ended for want of an answer. In check mode
// an archive is only to be judged.
func (q *question) open(check bool) bool {
	return q.Need != nil || q.Compare != "" || q.Index != nil || q.Lacks != nil || q.Archive != nil && !check
}

type needQuestion struct {
	wire.Need
	Direct   bool          `json:"direct"` // the login user may write to the file
	Part     wire.Part     `json:"part,omitempty"`
	Platform spec.Platform `json:"platform"` // whose archive it is
}

// Ansible does one task with the arguments of a module and writes one JSON
// object, also about what is wrong with them. The error is about writing it.
func Ansible(ctx context.Context, o AnsibleOptions) error {
	result := ansible(ctx, o)
	b, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	if o.Marker != "" {
		b = append([]byte(o.Marker+" result "), b...)
	}
	_, err = o.Out.Write(append(b, '\n'))
	return err
}

func ansible(ctx context.Context, o AnsibleOptions) *moduleResult {
	ord, warnings, err := readOrder(o)
	if err != nil {
		return badArguments(err)
	}
	platform, err := hostPlatform()
	if err != nil {
		return refusal(err)
	}
	if err := ord.allowed(); err != nil {
		return refusal(err)
	}
	if result := ord.login(ctx); result != nil {
		return result
	}
	if files := ord.files(); len(files) > 0 && ord.action == wire.Apply && ord.control.Files == nil && !ord.module {
		return &moduleResult{Question: &question{Files: files}}
	}
	ord.control.choose(platform)
	r := &ansibleRun{order: ord, options: o, platform: platform}
	report := r.do(ctx)
	if ord.module && r.question.Archive != nil && !ord.check {
		if err := r.useLocal(ctx); err != nil {
			return refusal(err)
		}
		report = r.do(ctx)
	}
	result := newModuleResult(ord, report)
	result.Warnings = append(warnings, result.Warnings...)
	if ord.module {
		return result
	}
	if r.question.open(ord.check) {
		return &moduleResult{Question: &r.question}
	}
	if r.question.Archive != nil || r.question.Prove != "" {
		result.Question = &r.question
	}
	return result
}
