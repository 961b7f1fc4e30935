package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// verification prints what the levels of gofleet_verify cost one fresh host.
// The table is made with quick, the default.
func (b *bench) verification(ctx context.Context) error {
	took := map[string]time.Duration{}
	for _, level := range []string{"quick", "build"} {
		err := b.withHosts(ctx, 1, func(l *lab.Lab) error {
			begun := time.Now()
			err := b.apply("zstd", "-e", fmt.Sprintf(`{"gofleet_verify": {"level": %q}}`, level))(ctx, l)
			took[level] = time.Since(begun)
			return err
		})
		if err != nil {
			return fmt.Errorf("verification %s: %w", level, err)
		}
	}
	fmt.Printf("first install of one host: %.1f s verified quick, as in the table; %.1f s with gofleet_verify.level build\n",
		took["quick"].Seconds(), took["build"].Seconds())
	return nil
}
