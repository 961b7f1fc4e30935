package serve

import (
	"context"
	"encoding/json"
	"io"

	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// What the action plugin has an agent do on the machine of ansible-playbook, so
// that one meaning of the variables and one reader of archives serve both ends.

// archiveQuestion has all that finding and judging an archive needs.
type archiveQuestion struct {
	Version  string        `json:"version"`
	Platform spec.Platform `json:"platform"`
	Names    []string      `json:"names"` // of files, the one that is preferred first
	Archives string        `json:"archives"`
	SHA256   string        `json:"sha256,omitempty"` // the pin
	Keys     []string      `json:"trusted_keys,omitempty"`
}

// archiveFor asks for the archive that a spec wants on a platform.
func archiveFor(s *spec.Spec, p spec.Platform) *archiveQuestion {
	base := "go" + s.GoVersion + "." + p.Dashed() // as package release has the names
	return &archiveQuestion{
		Version: s.GoVersion, Platform: p, Names: []string{base + ".tar.gz", base + ".module.tar.gz"},
		Archives: s.Archives, SHA256: s.SHA256[p], Keys: s.TrustedKeys,
	}
}

// Questions reads a module's arguments and writes, as one JSON object, which
// archives and file trees a host of these platforms could ask for, or the result of a task
// with such arguments where they are wrong. So both are known before a host is
// contacted.
func Questions(arguments io.Reader, platforms []string, out io.Writer) error {
	var answer struct {
		Archives []*archiveQuestion `json:"archives"`
		Files    []filesQuestion    `json:"files,omitempty"`
		Result   *moduleResult      `json:"result,omitempty"`
	}
	answer.Archives = []*archiveQuestion{}
	ord, _, err := readOrder(AnsibleOptions{Arguments: arguments})
	if err != nil {
		answer.Result = badArguments(err)
		return json.NewEncoder(out).Encode(answer)
	}
	answer.Files = ord.files()
	for _, name := range platforms {
		p, err := spec.ParsePlatform(name)
		if err != nil {
			return err
		}
		if ord.action == wire.Apply && ord.spec.Preconditions.Lets(p) {
			answer.Archives = append(answer.Archives, archiveFor(ord.spec, p))
		}
	}
	return json.NewEncoder(out).Encode(answer)
}

// surveyChunk is how much of an upload is hashed, and kept or lost, at once.
const surveyChunk = 4 << 20

// Survey writes what the action plugin has to know of an archive, as one JSON
// object.
func Survey(ctx context.Context, path string, out io.Writer) error {
	s, err := toolchain.SurveyArchive(ctx, path, surveyChunk)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(s)
}
