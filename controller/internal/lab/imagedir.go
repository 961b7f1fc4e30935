//go:build linux

package lab

import "context"

// ImageDir returns the root filesystem in cacheDir that a host with h's image
// stands on, made first if it is not there. Nobody may write to it.
func ImageDir(ctx context.Context, cacheDir string, h HostConfig) (string, error) {
	return imageRoot(ctx, Config{CacheDir: cacheDir, Progress: func(string) {}}, h)
}
