// Package seed hands what travels from one host of a site to the others: the
// seed's side, which listens and serves what the controller sent it once, and
// the side of a host that fetches. Both have a key of the run's from their own
// SSH connections; without it nobody gets a byte that can be read. Nothing that
// comes from a seed is believed: the chunks' sums prove it. It knows the
// kernel's sockets only, since package net would double the agent.
package seed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
)

// The protocol, of which both sides are always of one build. The seed begins
// with a nonce. The host answers with a request: a nonce of its own, the sum of
// the transfer, where to begin, and the MAC of all that under the key. Then
// the seed sends frames: four bytes of length, and so many bytes under AES-CTR
// with a key that both nonces make. An empty frame says that more will come.
const (
	nonceSize   = 16
	requestSize = nonceSize + sha256.Size + 8 + sha256.Size
	maxFrame    = 256 << 10
)

// Times within which something has to happen. A seed without anything to send
// says so more often than a host loses patience.
const (
	connectTime   = 3 * time.Second
	handshakeTime = 10 * time.Second
	heartbeat     = 4 * time.Second
	patience      = 15 * time.Second
	writeTime     = 30 * time.Second
)

// KeySize is the length of a key.
const KeySize = 32

// maxConnections bounds those that a seed serves at once.
const maxConnections = 128

// maxChunk is what a host holds in memory until its sum is right.
const maxChunk = 16 << 20

// request is what a host asks for.
type request struct {
	nonce  [nonceSize]byte
	sum    [sha256.Size]byte // of the transfer
	offset int64
}

// encode gives the request as it is sent, proved to be from who has the key.
func (r *request) encode(key []byte, seedNonce []byte) []byte {
	b := append([]byte(nil), r.nonce[:]...)
	b = append(b, r.sum[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.offset))
	return append(b, sign(key, "request", seedNonce, b)...)
}

// decode reads a request; false if it is not from who has the key.
func (r *request) decode(b, key, seedNonce []byte) bool {
	body, mac := b[:requestSize-sha256.Size], b[requestSize-sha256.Size:]
	copy(r.nonce[:], body)
	copy(r.sum[:], body[nonceSize:])
	r.offset = int64(binary.BigEndian.Uint64(body[nonceSize+sha256.Size:]))
	return subtle.ConstantTimeCompare(mac, sign(key, "request", seedNonce, body)) == 1
}

// sign is a MAC of some parts under the key, for one purpose. The key has one
// length, and so have the parts of each purpose: no input is the beginning of
// another, which makes a plain hash with the key in front a MAC.
func sign(key []byte, purpose string, parts ...[]byte) []byte {
	h := sha256.New()
	h.Write(key)
	h.Write([]byte(purpose))
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// stream is the cipher of one connection: its key is used once, because the
// seed's nonce is new each time.
func stream(key, seedNonce, hostNonce []byte) (cipher.Stream, error) {
	block, err := aes.NewCipher(sign(key, "stream", seedNonce, hostNonce))
	if err != nil {
		return nil, err
	}
	return cipher.NewCTR(block, make([]byte, aes.BlockSize)), nil
}

func newNonce() (n [nonceSize]byte) {
	rand.Read(n[:])
	return n
}

// parseSum reads a transfer's sha256.
func parseSum(text string) (sum [sha256.Size]byte, err error) {
	if n, err := hex.Decode(sum[:], []byte(text)); err != nil || n != len(sum) || len(text) != 2*len(sum) {
		return sum, errors.New("transfer has a sum that is no sha256")
	}
	return sum, nil
}
