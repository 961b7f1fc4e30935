package main

import (
	"fmt"
	"strconv"
	"time"
)

// seconds is a flag that takes 10, as Ansible's options do, and 10s or 1m30s.
type seconds struct{ d *time.Duration }

// Set reads a number of seconds or a duration.
func (s seconds) Set(text string) error {
	if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 0 {
		*s.d = time.Duration(n * float64(time.Second))
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no time: write 10 (seconds), 90s or 5m", text)
	}
	*s.d = d
	return nil
}

// String is the duration, as help shows the default.
func (s seconds) String() string {
	if s.d == nil || *s.d == 0 {
		return ""
	}
	return s.d.String()
}

// Type is the word that help shows.
func (s seconds) Type() string { return "seconds" }
