package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Limits of what one side accepts from the other.
const (
	MaxLine = 4 << 20   // a JSON line; a Report with a diff of many files stays below
	MaxData = 256 << 10 // raw bytes behind one Command.Data
)

// ErrTooLong is returned for a line that is longer than the reader's limit.
var ErrTooLong = errors.New("message is longer than allowed")

// Reader reads messages, each a line of JSON, and the raw bytes between them.
type Reader struct {
	br  *bufio.Reader
	max int
}

// readerSize is what a Reader keeps for each of thousands of hosts; longer
// lines get their room while they are read, and raw bytes need none.
const readerSize = 4 << 10

// NewReader makes a Reader that refuses lines of more than max bytes.
func NewReader(r io.Reader, max int) *Reader {
	return &Reader{br: bufio.NewReaderSize(r, readerSize), max: max}
}

// Line reads one line without its end. It holds at most the limit in memory.
// A last line without an end is io.ErrUnexpectedEOF; a clean end is io.EOF.
func (r *Reader) Line() ([]byte, error) {
	var line []byte
	for {
		part, err := r.br.ReadSlice('\n')
		if len(line)+len(part) > r.max {
			return nil, ErrTooLong
		}
		switch {
		case err == nil && line == nil:
			return bytes.TrimRight(part, "\r\n"), nil
		case err == nil:
			return bytes.TrimRight(append(line, part...), "\r\n"), nil
		case errors.Is(err, bufio.ErrBufferFull):
			line = append(line, part...)
		case errors.Is(err, io.EOF) && len(line)+len(part) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// Read reads one message into v, which must be a pointer to a zero value.
func (r *Reader) Read(v any) error {
	line, err := r.Line()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("message is not what the protocol says: %w", err)
	}
	return nil
}

// Raw gives the reader of the bytes that follow the last message. Exactly the
// announced number must be read from it before the next Read.
func (r *Reader) Raw() io.Reader { return r.br }

// Writer writes messages; it may be used from several goroutines.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
}

// NewWriter makes a Writer on w, which gets one Write for each message.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes v as one line.
func (w *Writer) Write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.w.Write(append(b, '\n'))
	return err
}

// WriteData writes a Command.Data and its raw bytes, which must be no more
// than MaxData.
func (w *Writer) WriteData(p []byte) error {
	n := int64(len(p))
	b, err := json.Marshal(Command{Data: &n})
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.w.Write(append(b, '\n')); err != nil {
		return err
	}
	_, err = w.w.Write(p)
	return err
}
