package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// ansibleRun is one run of a job whose controller is in this process.
type ansibleRun struct {
	*order
	options  AnsibleOptions
	platform spec.Platform
	question question

	session *session
}

// do runs the job. What it could not go on without is in question.
func (r *ansibleRun) do(ctx context.Context) *wire.Report {
	r.question = question{}
	r.session = &session{out: r, sends: make(chan wire.Transfer, 1), trees: make(chan []byte, 1)}
	task := &wire.Task{
		Run: r.control.Run, Host: r.control.Host, Controller: r.control.Controller,
		Action: r.action, Check: r.check, Diff: r.diff, Deep: r.deep, Version: r.version,
		Gofleet: r.options.Version, Now: r.control.Now, Spec: *r.spec, Release: r.control.Release,
		Modules: r.control.Files.offer(wire.PartModules), Gopath: r.control.Files.offer(wire.PartGopath),
	}
	if task.Now.IsZero() {
		task.Now = time.Now()
	}
	uid := r.options.LoginUID
	if !r.direct() {
		uid = os.Geteuid()
	}
	j := &job{
		session: r.session, task: task, platform: r.platform, asks: r.action == wire.Apply,
		options: Options{LoginUID: uid, Version: r.options.Version, Fault: r.options.Fault},
	}
	r.offerPackages(j)
	report := j.run(ctx)
	if r.action == wire.Apply && task.Release == nil && r.wants(j, report) {
		r.question.Archive = archiveFor(r.spec, r.platform)
	}
	return report
}

// wants tells whether the job ended, or in check mode would end, for want of
// an archive.
func (r *ansibleRun) wants(j *job, report *wire.Report) bool {
	if report.Error != nil {
		return report.Error.Kind == wire.KindArchiveMissing
	}
	return r.check && j.state != nil && !j.state.Ready()
}

// direct tells whether the upload's file can be the login user's.
func (r *ansibleRun) direct() bool {
	uid := r.options.LoginUID
	return uid >= 0 && (os.Geteuid() == 0 || os.Geteuid() == uid)
}

// errAsked ends a job that has to wait for an answer.
var errAsked = &wire.Error{Kind: wire.KindStopped, Message: "the answer is on its way"}

// Write takes the job's events in the controller's place.
func (r *ansibleRun) Write(v any) error {
	e, ok := v.(wire.Event)
	switch {
	case !ok:
		return nil
	case e.Compare:
		return r.list(e.Part)
	case e.Index != "":
		return r.index(e.Part, e.Index)
	case e.Prove != "" && !r.module:
		r.question.Prove = e.Prove
		return errLater
	case e.Prove != "":
		return errors.New("without the collection's action plugin nobody can log in afresh")
	case e.Want:
		r.session.sends <- *r.control.Transfer
	case len(e.Lacks) > 0:
		return r.difference(e.Part, e.Lacks)
	case e.Need != nil:
		return r.bring(*e.Need, e.Part)
	}
	return nil
}

// bring adds what came to the upload, or asks for the bytes.
func (r *ansibleRun) bring(need wire.Need, part wire.Part) error {
	transfer := r.control.Transfer
	if part != "" {
		transfer = r.control.Files[part].Transfer
	}
	upload, size := r.session.current(), transfer.Size
	if need.Offset < size && need.Offset == r.control.Offset && part == r.control.Part {
		n, err := r.arrived(upload)
		if err != nil {
			return err
		}
		need.Offset += n
	}
	if need.Offset < size {
		r.question.Need = &needQuestion{Need: need, Direct: r.direct(), Part: part, Platform: r.platform}
		return errAsked
	}
	upload.Have(size)
	return nil
}

// arrived appends the bytes that came with the arguments or in a file.
func (r *ansibleRun) arrived(upload sink) (int64, error) {
	switch {
	case r.control.Piece > 0:
		return r.control.Piece, upload.Append(r.reader.Raw(), r.control.Piece)
	case r.control.Rest != "":
		f, err := os.Open(r.control.Rest)
		if err != nil {
			return 0, fmt.Errorf("open what the action plugin brought: %w", err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return 0, err
		}
		if !st.Mode().IsRegular() {
			return 0, fmt.Errorf("%s is no regular file", filepath.Clean(r.control.Rest))
		}
		return st.Size(), upload.Append(f, st.Size())
	}
	return 0, nil
}
