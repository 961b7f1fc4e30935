package tree

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
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

// Unpack reads what Pack made.
func Unpack(packed []byte) (Manifest, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxText))
	if err != nil {
		return nil, fmt.Errorf("unpack tree manifest: %w", err)
	}
	defer z.Close()
	text, err := z.DecodeAll(packed, nil)
	if err != nil {
		return nil, corrupt(fmt.Errorf("unpack tree manifest: %w", err))
	}
	m, err := Parse(text)
	if err != nil {
		return nil, corrupt(err)
	}
	return m, nil
}
