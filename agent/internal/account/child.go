package account

import (
	"io"

	"github.com/gofleet/gofleet/agent/internal/asuser"
)

// ChildCommand is the first argument of the children that work in homes. A
// main that sees it calls RunChild and exits with what that gives.
const ChildCommand = asuser.Command

// RunChild is such a child.
func RunChild(stdin io.Reader, stdout io.Writer) int { return asuser.Main(stdin, stdout) }
