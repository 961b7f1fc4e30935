package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

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

// maxArguments bounds a module's arguments, in bytes: with them may come the
// lists of an archive, of modules and of sources, each a line of its own on
// gofleet's connections.
const maxArguments = 4 * wire.MaxLine

// readOrder reads a module's arguments. The values are as Ansible gives them:
// typed or as text.
func readOrder(o AnsibleOptions) (*order, []string, error) {
	// A file of arguments has no end of line.
	in := io.MultiReader(o.Arguments, strings.NewReader("\n"))
	ord := &order{action: wire.Apply, reader: wire.NewReader(in, maxArguments)}
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
	for _, q := range o.files() {
		if o.module && o.action == wire.Apply && q.Part != wire.PartPackages { // those may be there
			return nil, &wire.Error{Kind: wire.KindArchiveMissing,
				Message: fmt.Sprintf("%s%s lies on the controller, and nobody is there to bring it", prefix, q.Part),
				Hint:    "use gofleet.golang.toolchain, whose action plugin brings it, or gofleet apply"}
		}
	}
	if o.spec.Firewall != nil && o.module && o.action == wire.Apply {
		return nil, &wire.Error{Kind: wire.KindBaseline,
			Message: prefix + "firewall is set, and without the collection's action plugin nobody can log in afresh to prove that the host can still be reached",
			Hint:    "use gofleet.golang.toolchain, or gofleet apply"}
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
