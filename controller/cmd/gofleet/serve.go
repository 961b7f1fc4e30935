package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/mirror"
)

// serveFlags are those of serve.
type serveFlags struct {
	keys      []string
	listen    string
	cert, key string
	upstreams []string
}

// serveCommand serves a bundle to a site.
func (a *app) serveCommand() *cobra.Command {
	f := serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve BUNDLE",
		Short: "serve a bundle to a site: as a GOPROXY and as an archive mirror",
		Long: `serve serves a bundle over HTTP until it is told to end (Ctrl-C, SIGTERM):

  /                   a GOPROXY with the bundle's modules, the log of the checksum
                      database, and the toolchains, so that go verifies everything
                      and GOTOOLCHAIN=auto works
  /archives           for gofleet_archives to point at
  /healthz, /metrics  for whoever watches; Prometheus reads /metrics

Every byte of the bundle is compared with its signed manifest at the start, and
what is touched later is not served any more. Requests are logged on standard
error, a JSON object each. Modules that match the pattern of an --upstream are
forwarded to it, with the client's credentials, which nobody else gets.`,
		Example: `  gofleet serve site.bundle
  gofleet serve --listen :8080 site.bundle
  gofleet serve --listen :443 --tls-cert mirror.pem --tls-key mirror.key \
      --upstream 'git.corp.example/*=https://athens.corp.example' site.bundle

  # on any machine of the site
  go env -w GOPROXY=http://mirror.corp.example:8080 GOSUMDB=sum.golang.org`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.serve(cmd.Context(), args[0], f)
		},
	}
	addTrusted(cmd, &f.keys)
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8080", "`address` to listen on: host:port, or :port for all addresses")
	cmd.Flags().StringVar(&f.cert, "tls-cert", "", "`file` with the certificate, and those between it and the CA, in PEM")
	cmd.Flags().StringVar(&f.key, "tls-key", "", "`file` with the certificate's key, in PEM")
	cmd.Flags().StringArrayVar(&f.upstreams, "upstream", nil, "`PATTERN=URL`: the GOPROXY that has the modules which match; repeats")
	complete(cmd, "listen", noFiles)
	complete(cmd, "upstream", noFiles)
	return cmd
}

func (a *app) serve(ctx context.Context, path string, f serveFlags) error {
	log := slog.New(slog.NewJSONHandler(a.stderr, nil))
	o := mirror.Options{Log: log}
	for _, text := range f.upstreams {
		u, err := mirror.ParseUpstream(text)
		if err != nil {
			return hint(fmt.Errorf("--upstream: %w", err), "write it like 'git.corp.example/*=https://athens.corp.example'")
		}
		o.Upstreams = append(o.Upstreams, u)
	}
	certificates, err := f.certificates()
	if err != nil {
		return err
	}
	b, err := openTrusted(path, f.keys)
	if err != nil {
		return err
	}
	defer b.Close()
	s, err := a.newMirror(ctx, b, o)
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return hint(fmt.Errorf("--listen: %w", err), "name an address of this machine and a port that is free, like :8080")
	}
	scheme := "http"
	if certificates != nil {
		scheme, l = "https", tls.NewListener(l, certificates)
	}
	if at, ok := l.Addr().(*net.TCPAddr); ok && certificates == nil && len(o.Upstreams) > 0 && !at.IP.IsLoopback() {
		log.Warn("credentials for upstreams would cross the network unencrypted: give --tls-cert and --tls-key")
	}
	log.Info("serving", "bundle", b.String(), "signed_by", b.Signer(), "url", scheme+"://"+l.Addr().String())
	return s.Serve(ctx, l)
}

// newMirror checks the bundle, with progress, and makes the server.
func (a *app) newMirror(ctx context.Context, b *bundle.Bundle, o mirror.Options) (*mirror.Server, error) {
	ui, err := a.reporter()
	if err != nil {
		return nil, err
	}
	o.Progress = progress(ui)
	ui.Start()
	defer ui.Stop()
	return mirror.New(ctx, b, o)
}

// certificates are nil where plain HTTP is served.
func (f *serveFlags) certificates() (*tls.Config, error) {
	switch {
	case f.cert == "" && f.key == "":
		return nil, nil
	case f.cert == "" || f.key == "":
		return nil, hint(errors.New("--tls-cert and --tls-key belong together"), "give both, or none for plain HTTP")
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, hint(fmt.Errorf("--tls-cert %s, --tls-key %s: %w", f.cert, f.key, err), "both are files in PEM, and the key is that of the certificate")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}
