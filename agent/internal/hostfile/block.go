package hostfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/wire"
)

// Block is marked lines in a file that has others' lines too. Those stay byte
// for byte, and so do the file's owner and mode.
type Block struct {
	Path string
	Name string      // what the lines are, for the markers
	Text string      // whole lines; "" takes the block away
	Mode fs.FileMode // of a file that is not there yet
	Kind wire.Kind   // of the error where something else than a file stands
	Show func(content []byte) string
}

// The notes of blocks in rec.Files: what had to be done beside the block, and
// the block's sum, which is missing while a run is about to write it.
const (
	blockNote   = "block:"
	blockNew    = "new:"  // there was no file
	blockJoined = "line:" // the line before had no end
)

func (b Block) begin() string {
	return "# BEGIN gofleet " + b.Name + "; the next apply undoes changes\n"
}
func (b Block) end() string { return "# END gofleet " + b.Name + "\n" }

// Plan gives the step that makes the block so, or none. It is noted in
// rec.Files before it is written: the caller saves the record before the first
// step, so that a run which is cut leaves nothing that nobody knows.
func (b Block) Plan(rec *record.Record) ([]change.Step, error) {
	noted, ours := rec.Files[b.Path]
	if b.Text == "" && !ours {
		return nil, nil
	}
	before, err := b.look()
	if err != nil {
		return nil, err
	}
	want, how, err := b.edit(before, noted)
	if err != nil {
		return nil, err
	}
	now, _, err := b.find(string(before.Content))
	if err != nil {
		return nil, err
	}
	sum := record.Sum([]byte(b.Text))
	if now.found && now.text == b.Text || b.Text == "" && !now.found {
		b.note(rec, blockNote+how+sum)
		return nil, nil
	}
	step := change.Step{
		Name: "write a block to " + b.Path,
		Path: b.Path,
		Drift: ours && !strings.HasSuffix(noted, ":") &&
			!(now.found && strings.HasSuffix(noted, record.Sum([]byte(now.text)))),
		Diff: Managed{Path: b.Path, Show: b.Show}.diff(before, want),
	}
	if b.Text == "" {
		step.Name = "take the block out of " + b.Path
	} else {
		rec.Files[b.Path] = blockNote + how
	}
	var made []string
	step.Do = func(ctx context.Context) error {
		var err error
		if before, err = b.look(); err != nil {
			return err
		}
		want, how, err := b.edit(before, noted)
		if err != nil {
			return err
		}
		if made, err = MakeDirs(filepath.Dir(b.Path)); err != nil {
			return err
		}
		if err := want.PutBack(b.Path); err != nil {
			return err
		}
		b.note(rec, blockNote+how+sum)
		if want.Type == Absent {
			return nil
		}
		return Relabel(ctx, b.Path)
	}
	step.Undo = func() error {
		note(rec, b.Path, noted, ours)
		return errors.Join(before.PutBack(b.Path), RemoveDirs(made))
	}
	return []change.Step{step}, nil
}

func (b Block) note(rec *record.Record, value string) { note(rec, b.Path, value, b.Text != "") }

func (b Block) look() (State, error) {
	s, err := Look(b.Path)
	if err != nil {
		return s, wire.NewError(b.Kind, err, "")
	}
	return s, Managed{Path: b.Path, Kind: b.Kind}.refuse(&s)
}

// edit is what the file is to become, and how the block comes into it.
func (b Block) edit(before State, noted string) (want State, how string, err error) {
	content := string(before.Content)
	now, at, err := b.find(content)
	if err != nil {
		return State{}, "", err
	}
	for _, h := range []string{blockNew, blockJoined} {
		if strings.HasPrefix(noted, blockNote+h) {
			how = h
		}
	}
	want = before
	if before.Type == Absent {
		want, how = State{Type: File, Mode: b.Mode, UID: os.Geteuid(), GID: os.Getegid()}, blockNew
	}
	block := b.Text
	if block != "" {
		block = b.begin() + block + b.end()
	}
	head, tail := content, ""
	if now.found {
		head, tail = content[:at], content[at+now.size:]
	} else if block != "" && head != "" && !strings.HasSuffix(head, "\n") {
		head, how = head+"\n", blockJoined
	}
	if block == "" && tail == "" && how == blockJoined {
		head = strings.TrimSuffix(head, "\n")
	}
	want.Content = []byte(head + block + tail)
	if block == "" && len(want.Content) == 0 && how == blockNew {
		want = State{}
	}
	return want, how, nil
}

// found is a block as it stands in a file.
type found struct {
	found bool
	text  string // between the markers
	size  int    // with them
}

// find looks for the block, whose markers stand on lines of their own.
func (b Block) find(content string) (f found, at int, err error) {
	damaged := func(what string) error {
		return wire.NewError(b.Kind, fmt.Errorf("%s has %s", b.Path, what),
			"remove gofleet's lines there, from \""+strings.TrimSpace(b.begin())+"\" on, and apply again")
	}
	offset, opened := 0, -1
	for _, line := range strings.SplitAfter(content, "\n") {
		switch strings.TrimRight(line, " \t\r\n") + "\n" {
		case b.begin():
			if f.found || opened >= 0 {
				return f, 0, damaged("a second block of gofleet's")
			}
			at, opened = offset, offset+len(line)
		case b.end():
			if opened < 0 {
				return f, 0, damaged("the end of a block of gofleet's without its beginning")
			}
			f = found{true, content[opened:offset], offset + len(line) - at}
			opened = -1
		}
		offset += len(line)
	}
	if opened >= 0 {
		return f, 0, damaged("a block of gofleet's without an end")
	}
	return f, at, nil
}
