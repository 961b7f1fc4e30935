package distro

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// suites reads the signed lists that apt has accepted, and checks their
// signatures once more, to say whose they are.
func (a *apt) suites(r Release) ([]Suite, error) {
	keys, err := readKeyring(r.Keyring())
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(a.at("lists/*_InRelease"))
	if err != nil {
		return nil, err
	}
	var all []Suite
	for _, file := range files {
		_, suite, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), "_InRelease"), "_dists_")
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s, err := judge(text, keys)
		if err != nil {
			return nil, fmt.Errorf("suite %s: %w", suite, err)
		}
		s.Name = suite
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Suite) int { return strings.Compare(a.Name, b.Name) })
	if len(all) == 0 {
		return nil, fmt.Errorf("apt has no signed list of %s", r.Name)
	}
	return all, nil
}

func readKeyring(file string) (openpgp.EntityList, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	keys, err := openpgp.ReadKeyRing(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return keys, nil
}

// judge finds who signed an InRelease.
func judge(text []byte, keys openpgp.EntityList) (Suite, error) {
	block, _ := clearsign.Decode(text)
	if block == nil {
		return Suite{}, fmt.Errorf("it is not a signed text")
	}
	signer, err := openpgp.CheckDetachedSignature(keys, bytes.NewReader(block.Bytes), block.ArmoredSignature.Body, &packet.Config{})
	if err != nil {
		return Suite{}, fmt.Errorf("its signature: %w", err)
	}
	s := Suite{InRelease: text, Signer: fmt.Sprintf("%X", signer.PrimaryKey.Fingerprint)}
	for line := range strings.Lines(string(block.Plaintext)) {
		if date, ok := strings.CutPrefix(line, "Date: "); ok {
			s.Date = strings.TrimSpace(date)
		}
	}
	return s, nil
}
