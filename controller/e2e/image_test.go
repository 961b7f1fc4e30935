//go:build linux

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// cmdImage mounts the root of a system that does not run: image DIR OPTION[,OPTION...]
//
// Options are those of a lab's host. What is written there is gone with the script.
func cmdImage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		usage(ts, "image DIR OPTION[,OPTION...]")
	}
	var h lab.HostConfig
	for option := range strings.SplitSeq(args[1], ",") {
		ts.Check(h.Set(option))
	}
	ctx, cancel := context.WithTimeout(of(ts).ctx, imagePatience)
	defer cancel()
	lower, err := lab.ImageDir(ctx, filepath.Join(built.repo, ".cache", "images"), h)
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	upper, work := dir+".upper", dir+".work"
	for _, d := range []string{dir, upper, work} {
		ts.Check(os.Mkdir(d, 0o755))
	}
	ts.Check(unix.Mount("overlay", dir, "overlay", 0, "lowerdir="+lower+",upperdir="+upper+",workdir="+work))
	ts.Defer(func() { ts.Check(unix.Unmount(dir, unix.MNT_DETACH)) })
}
