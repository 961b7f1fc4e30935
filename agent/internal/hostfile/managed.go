package hostfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/wire"
)

// Managed is one file that is gofleet's from its first byte to its last.
type Managed struct {
	Path    string
	Content []byte
	Mode    fs.FileMode
	Kind    wire.Kind                                   // of the error where something else than a file stands
	Check   func(ctx context.Context, tmp string) error // before the file is moved in; nil: none
	Show    func(content []byte) string                 // for the Diff, without secrets; nil: as it is
}

// Plan gives the step that makes the file so, or none. What is right already is
// noted in rec.Files, so that a later change to it is known as drift.
func (m Managed) Plan(rec *record.Record) ([]change.Step, error) {
	before, err := Look(m.Path)
	if err != nil {
		return nil, wire.NewError(m.Kind, err, "")
	}
	if err := m.refuse(&before); err != nil {
		return nil, err
	}
	noted, ours := rec.Files[m.Path]
	want := State{Type: File, Mode: m.Mode, UID: os.Geteuid(), GID: os.Getegid(), Content: m.Content}
	owned := before.Type == File && before.Mode == want.Mode && before.UID == want.UID && before.GID == want.GID
	if owned && bytes.Equal(before.Content, want.Content) {
		rec.Files[m.Path] = record.Sum(want.Content)
		return nil, nil
	}
	step := change.Step{
		Name:  "write " + m.Path,
		Path:  m.Path,
		Drift: ours && (!owned || record.Sum(before.Content) != noted),
		Diff:  m.diff(before, want),
	}
	var made []string
	step.Do = func(ctx context.Context) error {
		if before, err = Look(m.Path); err != nil {
			return err
		}
		if err := m.refuse(&before); err != nil {
			return err
		}
		if made, err = MakeDirs(filepath.Dir(m.Path)); err != nil {
			return err
		}
		var check func(string) error
		if m.Check != nil {
			check = func(tmp string) error { return m.Check(ctx, tmp) }
		}
		if err := replace(m.Path, &want, check); err != nil {
			return err
		}
		rec.Files[m.Path] = record.Sum(want.Content)
		return Relabel(ctx, m.Path)
	}
	step.Undo = func() error {
		note(rec, m.Path, noted, ours)
		return errors.Join(before.PutBack(m.Path), RemoveDirs(made))
	}
	return []change.Step{step}, nil
}

func (m Managed) refuse(s *State) error {
	switch s.Type {
	case Link:
		return wire.NewError(m.Kind, fmt.Errorf("%s is a link to %q, where gofleet has a file", m.Path, s.Target),
			"remove the link and apply again")
	case Other:
		return wire.NewError(m.Kind, fmt.Errorf("%s is not a regular file", m.Path), "move it away and apply again")
	}
	return nil
}

func (m Managed) diff(before, want State) string {
	show := m.Show
	if show == nil {
		show = func(b []byte) string { return string(b) }
	}
	d := Diff(m.Path, show(before.Content), show(want.Content))
	switch {
	case d != "":
		return d
	case !bytes.Equal(before.Content, want.Content):
		return "a value that is not shown changes\n"
	}
	return fmt.Sprintf("owner %d:%d mode %04o becomes %d:%d %04o\n",
		before.UID, before.GID, before.Mode, want.UID, want.GID, want.Mode)
}

// PlanRemove gives the step that removes what stands at path, or none. Callers
// have made sure that it is gofleet's. The path leaves rec.Files.
func PlanRemove(path string, rec *record.Record, kind wire.Kind) ([]change.Step, error) {
	before, err := Look(path)
	if err != nil {
		return nil, wire.NewError(kind, err, "")
	}
	noted, ours := rec.Files[path]
	switch before.Type {
	case Absent:
		delete(rec.Files, path)
		return nil, nil
	case Other:
		return nil, wire.NewError(kind, fmt.Errorf("%s is neither a file nor a link", path), "move it away and apply again")
	}
	return []change.Step{{
		Name: "remove " + path,
		Path: path,
		Diff: "removed: " + path + "\n",
		Do: func(context.Context) error {
			if before, err = Look(path); err != nil {
				return err
			}
			if err := durable.Remove(path); err != nil {
				return err
			}
			delete(rec.Files, path)
			return nil
		},
		Undo: func() error {
			note(rec, path, noted, ours)
			return before.PutBack(path)
		},
	}}, nil
}

// note puts a path's entry of rec.Files back.
func note(rec *record.Record, path, value string, there bool) {
	if there {
		rec.Files[path] = value
	} else {
		delete(rec.Files, path)
	}
}
