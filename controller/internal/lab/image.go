//go:build linux

package lab

import (
	"context"
	"fmt"
)

// imageKey names the base layer that a host stands on.
func imageKey(h HostConfig) string {
	switch {
	case h.Image == "":
		return "machine"
	case h.Arch == "":
		return h.Image
	}
	return h.Image + "-" + h.Arch
}

// imageRoot returns the root filesystem of an image, "/" for none.
func imageRoot(ctx context.Context, cache, image, arch string) (string, error) {
	if image == "" {
		return "/", nil
	}
	return "", fmt.Errorf("image %s: not yet", image)
}
