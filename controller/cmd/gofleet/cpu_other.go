//go:build !unix

package main

import "time"

// usedCPU is nil: what this process has used is not known here.
func usedCPU() func() time.Duration { return nil }
