package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"
)

// FuzzReader reads whatever the other side may send, as a controller and as an
// agent do. Nothing longer than allowed comes out, what is read can be said
// again, and raw bytes behind an announcement stay what they are.
func FuzzReader(f *testing.F) {
	n := int64(5)
	for _, m := range []any{
		Event{Phase: "check"}, Event{Need: &Need{Path: "/x", Offset: 7}}, Event{Report: &Report{Status: Changed, Error: &Error{Kind: KindHost, Message: "x"}}},
		Command{Task: &Task{Action: Apply}}, Command{Send: &Transfer{Encoding: Zstd, Chunks: []string{"a"}}}, Command{Have: &n}, Command{Ping: true},
	} {
		b, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(b, '\n'))
	}
	f.Add([]byte("{\"data\":5}\nab\nde{\"stop\":true}\r\n{}"))
	f.Add([]byte("{\"data\":-1}\n\n\x00[]"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const max = 1 << 10
		events := NewReader(bytes.NewReader(in), max)
		for {
			var e Event
			if !again(t, events.Read(&e)) {
				break
			}
			same(t, e)
		}
		commands := NewReader(bytes.NewReader(in), max)
		for {
			var c Command
			err := commands.Read(&c)
			if !again(t, err) {
				break
			}
			if err == nil && c.Data != nil && *c.Data >= 0 && *c.Data <= MaxData {
				if _, err := io.CopyN(io.Discard, commands.Raw(), *c.Data); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			same(t, c)
		}
		lines := NewReader(bytes.NewReader(in), max)
		for {
			line, err := lines.Line()
			if err != nil {
				break
			}
			if len(line) > max || bytes.IndexByte(line, '\n') >= 0 || !bytes.Contains(in, line) {
				t.Fatalf("line %q", line)
			}
		}
	})
}

// again tells whether more may follow an outcome of Read.
func again(t *testing.T, err error) bool {
	t.Helper()
	return err == nil || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrTooLong)
}

// same says v again and reads it.
func same[T any](t *testing.T, v T) {
	t.Helper()
	var b bytes.Buffer
	if err := NewWriter(&b).Write(v); err != nil {
		return // a time that JSON has no form for
	}
	var back T
	if err := NewReader(&b, MaxLine).Read(&back); err != nil {
		t.Fatal(err)
	}
	var c bytes.Buffer
	if err := NewWriter(&c).Write(back); err != nil {
		t.Fatal(err)
	}
	var once, twice any
	if json.Unmarshal(b.Bytes(), &once) == nil && json.Unmarshal(c.Bytes(), &twice) == nil && !reflect.DeepEqual(once, twice) {
		t.Fatalf("%s became %s", b.Bytes(), c.Bytes())
	}
}
