package bundle

import (
	"fmt"
	"path"
	"strings"
)

// Layer is what of a bundle an error is about.
type Layer string

// The layers, from the outermost to the innermost.
const (
	Part      Layer = "part"      // one of the files that a bundle was split into
	Framing   Layer = "framing"   // the bytes between the files of a bundle
	Signature Layer = "signature" // of the manifest or of the list of parts
	Listing   Layer = "manifest"
	Archive   Layer = "archive"
	Evidence  Layer = "evidence"   // .evidence or .asc of an archive
	ModuleZip Layer = "module zip" // the content of a module
	Module    Layer = "module"     // .mod, .info and list of a module
	TreeHead  Layer = "tree head"  // of the checksum database
	Record    Layer = "record"     // of a module in the checksum database
	Tile      Layer = "tile"       // of the checksum database's log
	Other     Layer = "file"       // anything else
)

// Error says what is wrong with a bundle, and where. It is not retryable.
type Error struct {
	Bundle string // its path
	Layer  Layer
	What   string // path in the bundle, or name of a part; "" where the layer says it
	Reason string
	Hint   string
	cause  error
}

func (e *Error) Error() string {
	what := string(e.Layer)
	if e.What != "" {
		what += " " + e.What
	}
	return fmt.Sprintf("%s: %s: %s", e.Bundle, what, e.Reason)
}

// Unwrap gives what is behind it, if anything is.
func (e *Error) Unwrap() error { return e.cause }

const (
	carryHint = "the bundle was damaged on its way: carry it over again"
	wrongHint = "do not use the bundle before you know who changed it"
)

// layerOf says what the file with that path is.
func layerOf(p string) Layer {
	module := strings.HasPrefix(p, ModulesDir+"/")
	switch {
	case p == ManifestName:
		return Listing
	case p == SignatureName:
		return Signature
	case strings.HasPrefix(p, ArchivesDir+"/") && (path.Ext(p) == ".evidence" || path.Ext(p) == ".asc"):
		return Evidence
	case strings.HasPrefix(p, ArchivesDir+"/"):
		return Archive
	case module && strings.HasPrefix(p, sumdbDir+"/"):
		switch {
		case strings.Contains(p, "/tile/"):
			return Tile
		case strings.Contains(p, "/lookup/"):
			return Record
		}
		return TreeHead
	case module && path.Ext(p) == ".zip":
		return ModuleZip
	case module:
		return Module
	}
	return Other
}
