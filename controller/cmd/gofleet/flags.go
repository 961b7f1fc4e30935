package main

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// seconds is a flag that takes 10, as Ansible's options do, and 10s or 1m30s.
type seconds struct{ d *time.Duration }

// Set reads a number of seconds or a duration.
func (s seconds) Set(text string) error {
	if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 0 && n < math.MaxInt64/float64(time.Second) {
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

// whole is a flag that takes a whole number from a least one on.
type whole struct {
	n     *int
	least int
}

// Set reads a number.
func (w whole) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < w.least {
		return fmt.Errorf("%q is no whole number from %d on", text, w.least)
	}
	*w.n = n
	return nil
}

// String is the number, as help shows the default.
func (w whole) String() string {
	if w.n == nil {
		return "0"
	}
	return strconv.Itoa(*w.n)
}

// Type is the word that help shows.
func (w whole) Type() string { return "number" }

// uploads is a flag that takes a number, or auto.
type uploads struct {
	most int
	auto bool
}

// Set reads a number of uploads, or auto.
func (u *uploads) Set(text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case text == "auto":
		u.auto = true
	case err != nil || n < 1:
		return fmt.Errorf("%q is no number of uploads: write 1 or more, or auto", text)
	default:
		*u = uploads{most: n}
	}
	return nil
}

// String is the number, as help shows the default, or auto.
func (u *uploads) String() string {
	if u.auto {
		return "auto"
	}
	return strconv.Itoa(u.most)
}

// Type is the word that help shows.
func (u *uploads) Type() string { return "number" }
