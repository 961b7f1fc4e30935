package toolchain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// caches: the deploy user can write to the caches that it shares.
func (v *Verification) caches(ctx context.Context, r *runner) error {
	if v.Cache == nil || v.As == nil {
		return nil
	}
	for _, dir := range v.Cache.Dirs() {
		out, err := r.run(ctx, r.bare(quickTimeout, "mktemp", "-d", filepath.Join(dir, ".gofleet-XXXXXX")))
		if err != nil {
			return fmt.Errorf("%s cannot write to the cache %s (is %s in gofleet_user.groups?): %w", v.As.Name, dir, v.Cache.Group, err)
		}
		made := strings.TrimSpace(out)
		if filepath.Dir(made) != dir {
			return fmt.Errorf("mktemp made %q, not something in %s", printable(made, 200), dir)
		}
		if err := os.Remove(made); err != nil {
			return err
		}
	}
	return nil
}
