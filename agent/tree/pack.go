package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/agent/gunzip"
)

// maxText bounds the text of a manifest that Unpack accepts, in bytes: several
// times what any Go release has.
const maxText = 16 << 20

// Pack is the manifest's text as it travels, compressed.
func Pack(text []byte) ([]byte, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("pack tree manifest: %w", err)
	}
	return z.EncodeAll(text, nil), z.Close()
}

// Unpack reads what Pack made, or a manifest's text in gzip, which is what the
// collection's Python can make.
func Unpack(packed []byte) (Manifest, error) {
	text, err := UnpackText(packed)
	if err != nil {
		return nil, corrupt(fmt.Errorf("unpack tree manifest: %w", err))
	}
	m, err := Parse(text)
	if err != nil {
		return nil, corrupt(err)
	}
	return m, nil
}

// UnpackText reads what Pack made of any text.
func UnpackText(packed []byte) ([]byte, error) {
	if bytes.HasPrefix(packed, []byte{0x1f, 0x8b}) {
		text, err := io.ReadAll(io.LimitReader(gunzip.NewReader(bytes.NewReader(packed)), maxText+1))
		if err == nil && len(text) > maxText {
			err = errors.New("it is too large")
		}
		return text, err
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxText))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return z.DecodeAll(packed, nil)
}
