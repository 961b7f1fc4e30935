package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	Rest       string         `json:"rest,omitempty"`   // a file on this host that has the transfer from Offset on
	Piece      int64          `json:"piece,omitempty"`  // this many bytes of it follow the arguments
	Offset     int64          `json:"offset,omitempty"` // where Rest or Piece begin
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
	Need    *needQuestion    `json:"need,omitempty"`    // its bytes
}

type needQuestion struct {
	wire.Need
	Direct   bool          `json:"direct"`   // the login user may write to the file
	Platform spec.Platform `json:"platform"` // whose archive it is
}

// order is what an Ansible task asks for.
type order struct {
	action  wire.Action
	info    bool
	version string // for Rollback and Remove
	check   bool
	diff    bool
	deep    bool
	spec    *spec.Spec
	control control
	module  bool // no action plugin
	reader  *wire.Reader
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
		return refusal(err)
	}
	platform, err := hostPlatform()
	if err != nil {
		return refusal(err)
	}
	if err := ord.allowed(); err != nil {
		return refusal(err)
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
	if r.question.Need != nil || r.question.Archive != nil && !ord.check {
		return &moduleResult{Question: &r.question}
	}
	if r.question.Archive != nil {
		result.Question = &r.question
	}
	return result
}

// readOrder reads a module's arguments. The values are as Ansible gives them:
// typed or as text.
func readOrder(o AnsibleOptions) (*order, []string, error) {
	// A file of arguments has no end of line.
	in := io.MultiReader(o.Arguments, strings.NewReader("\n"))
	ord := &order{action: wire.Apply, reader: wire.NewReader(in, wire.MaxLine)}
	line, err := ord.reader.Line()
	if err != nil {
		return nil, nil, fmt.Errorf("read the module's arguments: %w", err)
	}
	vars := map[string]any{}
	if err := decodeArguments(line, &vars); err != nil {
		return nil, nil, fmt.Errorf("read the module's arguments: %w", err)
	}
	own, isOwn := vars["_gofleet"]
	ord.module = !isOwn
	if isOwn {
		b, err := json.Marshal(own)
		if err == nil {
			err = json.Unmarshal(b, &ord.control)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read what the action plugin says: %w", err)
		}
		delete(vars, "_gofleet")
	}
	if err := ord.readModule(vars, o.Program); err != nil {
		return nil, nil, err
	}
	warnings, err := ord.readSpec(vars)
	return ord, warnings, err
}

func decodeArguments(line []byte, vars *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(vars); err != nil {
		return err
	}
	for k, v := range *vars {
		(*vars)[k] = numbers(v)
	}
	return nil
}

// numbers turns JSON's numbers into those that package spec reads. What is
// written with a point was a float in the inventory.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

// readModule takes what is not a variable of gofleet out of vars.
func (o *order) readModule(vars map[string]any, program string) error {
	take := func(name string) any {
		v := vars[name]
		delete(vars, name)
		return v
	}
	for _, flag := range []struct {
		name string
		to   *bool
	}{{"_ansible_check_mode", &o.check}, {"_ansible_diff", &o.diff}, {"deep", &o.deep}, {"info", &o.info}} {
		b, err := truth(take(flag.name))
		if err != nil {
			return fmt.Errorf("%s: %w", flag.name, err)
		}
		*flag.to = b
	}
	for name := range vars {
		if strings.HasPrefix(name, "_ansible_") {
			delete(vars, name)
		}
	}
	state, version := take("state"), take("version")
	if o.info = o.info || strings.HasSuffix(program, "_info"); o.info {
		o.action = wire.Audit
	}
	switch {
	case o.info && state != nil:
		return errors.New("toolchain_info has no option state")
	case o.deep && !o.info:
		return errors.New("toolchain has no option deep; toolchain_info has it")
	case o.info, state == nil, state == "", state == "present":
	case state == "absent":
		o.action = wire.Remove
	case state == "rolled_back":
		o.action = wire.Rollback
	default:
		return fmt.Errorf("state is %q; it must be present, absent or rolled_back", fmt.Sprint(state))
	}
	if version == nil || version == "" {
		return nil
	}
	if o.action != wire.Remove && o.action != wire.Rollback {
		return errors.New("version is for state absent and rolled_back; write go_version")
	}
	text, ok := version.(string)
	if !ok {
		return errors.New(`version must be text: quote it, like "1.26.8"`)
	}
	text, hint, err := spec.ParseGoVersion(text)
	if err != nil {
		return &wire.Error{Kind: wire.KindProtocol, Message: "version: " + err.Error(), Hint: hint}
	}
	o.version = text
	return nil
}

// truth reads a boolean as Ansible writes them.
func truth(v any) (bool, error) {
	switch s := strings.ToLower(strings.TrimSpace(fmt.Sprint(v))); s {
	case "<nil>", "", "false", "no", "off", "0", "n", "f":
		return false, nil
	case "true", "yes", "on", "1", "y", "t":
		return true, nil
	}
	return false, fmt.Errorf("%v is neither true nor false", v)
}

// readSpec reads the variables. An inventory's own text is not known here, so
// numbers and booleans among the values of environment variables are taken as
// YAML would print them; a float, which may have lost a zero, with a warning.
func (o *order) readSpec(vars map[string]any) (warnings []string, err error) {
	prefix := o.control.Prefix
	raw := func(path ...string) string {
		switch strings.TrimPrefix(path[0], prefix) {
		case "env", "environment", "verify":
		default:
			return ""
		}
		switch v := lookup(vars, path).(type) {
		case bool:
			return strconv.FormatBool(v)
		case float64:
			text := strconv.FormatFloat(v, 'f', -1, 64)
			warnings = append(warnings, fmt.Sprintf("%s is a number in YAML and was taken as %s; quote it to be sure", spec.PathString(path), text))
			return text
		}
		return ""
	}
	o.spec, err = spec.Parse(vars, spec.Options{
		Prefix: prefix, Lenient: true, Raw: raw, Required: o.action == wire.Apply,
	})
	if err != nil {
		return nil, err
	}
	if o.spec.Modules != nil && o.action == wire.Apply {
		return nil, &wire.Error{Kind: wire.KindArchiveMissing,
			Message: prefix + "modules names a bundle, and the collection reads none",
			Hint:    "gofleet apply brings modules, from the same inventory; or have hosts use a mirror (gofleet serve) with GOPROXY in " + prefix + "env"}
	}
	if o.spec.Gopath != nil && o.action == wire.Apply {
		return nil, &wire.Error{Kind: wire.KindArchiveMissing,
			Message: prefix + "gopath names a directory of sources, and the collection sends none",
			Hint:    "gofleet apply brings sources, from the same inventory; or bring them by other means and set GO111MODULE in " + prefix + "env"}
	}
	if o.version == "" && prefix == "" && (o.action == wire.Remove || o.action == wire.Rollback) {
		o.version = o.spec.GoVersion
	}
	return warnings, nil
}

// lookup gives the value at a path of keys and indexes, or nil.
func lookup(v any, path []string) any {
	for _, p := range path {
		switch c := v.(type) {
		case map[string]any:
			v = c[p]
		case []any:
			i, err := strconv.Atoi(p)
			if err != nil || i < 0 || i >= len(c) {
				return nil
			}
			v = c[i]
		default:
			return nil
		}
	}
	return v
}

// allowed refuses to install for the whole host as an ordinary user.
func (o *order) allowed() error {
	if os.Geteuid() == 0 || o.spec.Root != spec.DefaultRoot {
		return nil
	}
	return &wire.Error{Kind: wire.KindNeedsRoot,
		Message: "an ordinary user cannot install to " + spec.DefaultRoot,
		Hint:    "become root with become: true, or set " + o.control.Prefix + "root to a directory in the user's home"}
}

// ansibleRun is one run of a job whose controller is in this process.
type ansibleRun struct {
	*order
	options  AnsibleOptions
	platform spec.Platform
	question question

	session *session
}

// do runs the job. What it could not go on without is in question.
func (r *ansibleRun) do(ctx context.Context) *wire.Report {
	r.question = question{}
	r.session = &session{out: r, sends: make(chan wire.Transfer, 1)}
	task := wire.Task{
		Run: r.control.Run, Host: r.control.Host, Controller: r.control.Controller,
		Action: r.action, Check: r.check, Diff: r.diff, Deep: r.deep, Version: r.version,
		Gofleet: r.options.Version, Now: r.control.Now, Spec: *r.spec, Release: r.control.Release,
	}
	if task.Now.IsZero() {
		task.Now = time.Now()
	}
	uid := r.options.LoginUID
	if !r.direct() {
		uid = os.Geteuid()
	}
	j := &job{
		session: r.session, task: task, platform: r.platform, asks: r.action == wire.Apply,
		options: Options{LoginUID: uid, Version: r.options.Version, Fault: r.options.Fault},
	}
	report := j.run(ctx)
	if r.action == wire.Apply && task.Release == nil && r.wants(j, report) {
		r.question.Archive = archiveFor(r.spec, r.platform)
	}
	return report
}

// wants tells whether the job ended, or in check mode would end, for want of
// an archive.
func (r *ansibleRun) wants(j *job, report *wire.Report) bool {
	if report.Error != nil {
		return report.Error.Kind == wire.KindArchiveMissing
	}
	return r.check && j.state != nil && !j.state.Ready()
}

// direct tells whether the upload's file can be the login user's.
func (r *ansibleRun) direct() bool {
	uid := r.options.LoginUID
	return uid >= 0 && (os.Geteuid() == 0 || os.Geteuid() == uid)
}

// errAsked ends a job that has to wait for bytes.
var errAsked = &wire.Error{Kind: wire.KindStopped, Message: "the archive is on its way"}

// Write takes the job's events in the controller's place.
func (r *ansibleRun) Write(v any) error {
	e, ok := v.(wire.Event)
	switch {
	case !ok:
		return nil
	case e.Want:
		r.session.sends <- *r.control.Transfer
	case e.Need != nil:
		return r.bring(*e.Need)
	}
	return nil
}

// bring adds what came to the upload, or asks for the bytes.
func (r *ansibleRun) bring(need wire.Need) error {
	upload, size := r.session.current(), r.control.Transfer.Size
	if need.Offset < size && need.Offset == r.control.Offset {
		n, err := r.arrived(upload)
		if err != nil {
			return err
		}
		need.Offset += n
	}
	if need.Offset < size {
		r.question.Need = &needQuestion{Need: need, Direct: r.direct(), Platform: r.platform}
		return errAsked
	}
	upload.Have(size)
	return nil
}

// arrived appends the bytes that came with the arguments or in a file.
func (r *ansibleRun) arrived(upload sink) (int64, error) {
	switch {
	case r.control.Piece > 0:
		return r.control.Piece, upload.Append(r.reader.Raw(), r.control.Piece)
	case r.control.Rest != "":
		f, err := os.Open(r.control.Rest)
		if err != nil {
			return 0, fmt.Errorf("open what the action plugin brought: %w", err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return 0, err
		}
		if !st.Mode().IsRegular() {
			return 0, fmt.Errorf("%s is no regular file", filepath.Clean(r.control.Rest))
		}
		return st.Size(), upload.Append(f, st.Size())
	}
	return 0, nil
}
