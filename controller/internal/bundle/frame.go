package bundle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// A bundle that is one file is a sequence of zstd frames which decompress to a
// tar stream: `tar --zstd -xf` unpacks it. What is compressed already, as
// archives are, lies in frames of raw blocks: stored bytes are then content
// with a few fixed bytes at known places in between, so that any part of it
// can be read without reading what comes before.
const (
	blockSize   = 128 << 10 // the largest that zstd has
	blockHeader = 3
	tarBlock    = 512
)

// frameHead opens a frame: magic number, no checksum, no content size, and a
// window of blockSize (exponent 7, mantissa 0).
var frameHead = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3}

// rawSize is the length of a frame of raw blocks with n bytes in them.
func rawSize(n int64) int64 { return int64(len(frameHead)) + blockHeader*blocks(n) + n }

func blocks(n int64) int64 { return max(1, (n+blockSize-1)/blockSize) }

// appendBlockHead appends the header of a raw block of n bytes.
func appendBlockHead(b []byte, n int, last bool) []byte {
	h := uint32(n) << 3
	if last {
		h |= 1
	}
	return append(b, byte(h), byte(h>>8), byte(h>>16))
}

// appendRaw appends a frame of raw blocks with the data.
func appendRaw(b, data []byte) []byte {
	b = append(b, frameHead...)
	for {
		n := min(len(data), blockSize)
		b = appendBlockHead(b, n, n == len(data))
		b = append(b, data[:n]...)
		if data = data[n:]; len(data) == 0 {
			return b
		}
	}
}

// rawReader reads the content of a frame of raw blocks at any place.
type rawReader struct {
	r    io.ReaderAt
	off  int64 // of the frame
	size int64 // of the content
}

func (r rawReader) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, fmt.Errorf("read at %d", at)
	}
	n := 0
	for n < len(p) && at < r.size {
		in := at % blockSize
		stretch := min(int64(len(p)-n), blockSize-in, r.size-at)
		stored := r.off + int64(len(frameHead)) + (at/blockSize)*(blockHeader+blockSize) + blockHeader + in
		got, err := r.r.ReadAt(p[n:n+int(stretch)], stored)
		n += got
		at += int64(got)
		if int64(got) < stretch {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// tarHeader is the header of a regular file: owner 0:0, no time. Longer paths
// than the old format holds get a header of their own before it.
func tarHeader(path string, mode uint32, size int64) []byte {
	if len(path) <= 100 {
		return ustar(path, mode, size, '0')
	}
	record := paxRecord("path", path)
	b := ustar("././@PaxHeader", 0o644, int64(len(record)), 'x')
	b = append(b, record...)
	b = append(b, tarPadding(int64(len(record)))...)
	return append(b, ustar(path[:100], mode, size, '0')...)
}

func paxRecord(key, value string) []byte {
	n := len(key) + len(value) + 3 // space, =, newline
	digits := 1
	for len(fmt.Sprint(n+digits)) != digits {
		digits++
	}
	return fmt.Appendf(nil, "%d %s=%s\n", n+digits, key, value)
}

func ustar(name string, mode uint32, size int64, kind byte) []byte {
	h := make([]byte, tarBlock)
	copy(h, name)
	octal := func(at, digits int, n int64) { copy(h[at:], fmt.Sprintf("%0*o\x00", digits, n)) }
	octal(100, 7, int64(mode))
	octal(108, 7, 0)
	octal(116, 7, 0)
	octal(124, 11, size)
	octal(136, 11, 0)
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	copy(h[148:], "        ")
	sum := int64(0)
	for _, c := range h {
		sum += int64(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// tarPadding fills up what follows size bytes to a whole block.
func tarPadding(size int64) []byte { return make([]byte, (tarBlock-size%tarBlock)%tarBlock) }

// footer is the end of a bundle that is one file: a zstd frame that decoders
// skip, which says where the manifest is.
type footer struct{ offset, manifest, signature int64 }

const footerText = manifestFormat + " manifest at %016x, %016x bytes, signature %016x bytes\n"

// footerSize is the length of every footer.
var footerSize = len(footer{}.encode())

func (f footer) encode() []byte {
	text := fmt.Sprintf(footerText, f.offset, f.manifest, f.signature)
	b := binary.LittleEndian.AppendUint32(nil, 0x184d2a5f)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

// parseFooter reads what encode writes, and nothing else.
func parseFooter(b []byte) (footer, bool) {
	var f footer
	if len(b) != footerSize {
		return f, false
	}
	if _, err := fmt.Sscanf(string(b[8:]), footerText, &f.offset, &f.manifest, &f.signature); err != nil {
		return f, false
	}
	ok := f.offset >= 0 && f.manifest > 0 && f.manifest <= maxManifest && f.signature >= 0 && f.signature <= 1<<16
	return f, ok && bytes.Equal(f.encode(), b)
}

// place says where a file lies in a bundle that is one file.
type place struct {
	head int64 // of the frame with the tar header
	data int64 // of the frame or frames with the content
	pad  int64 // of the frame with the padding, if there is any
	end  int64

	size   int64 // of the content
	packed bool
}

func (f *File) place(at int64) place {
	p := place{head: at, size: f.Size, packed: f.Packed != nil}
	p.data = at + rawSize(int64(len(tarHeader(f.Path, uint32(f.Mode), f.Size))))
	p.pad = p.data + rawSize(f.Size)
	if f.Packed != nil {
		p.pad = p.data + f.Packed.Size
	}
	p.end = p.pad
	if n := int64(len(tarPadding(f.Size))); n > 0 {
		p.end += rawSize(n)
	}
	return p
}

// appendTail appends what follows the content: manifest, signature if there is
// one, the end of the tar stream, the footer. offset is where it begins.
func appendTail(b []byte, offset int64, manifest, signature []byte) []byte {
	add := func(name string, data []byte) {
		b = appendRaw(b, tarHeader(name, 0o644, int64(len(data))))
		b = appendRaw(b, data)
		if pad := tarPadding(int64(len(data))); len(pad) > 0 {
			b = appendRaw(b, pad)
		}
	}
	add(ManifestName, manifest)
	if len(signature) > 0 {
		add(SignatureName, signature)
	}
	b = appendRaw(b, make([]byte, 2*tarBlock))
	return append(b, footer{offset, int64(len(manifest)), int64(len(signature))}.encode()...)
}
