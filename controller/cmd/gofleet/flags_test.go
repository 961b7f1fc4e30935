package main

import (
	"testing"
	"time"
)

func TestSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "10": 10 * time.Second, "0.5": 500 * time.Millisecond, "1m30s": 90 * time.Second, "9e9": 9e9 * time.Second,
	} {
		var d time.Duration
		if err := (seconds{&d}).Set(text); err != nil || d != want {
			t.Errorf("%q is %v, %v; want %v", text, d, err, want)
		}
	}
	for _, text := range []string{"", "-1", "-1s", "soon", "NaN", "Inf", "1e10"} {
		var d time.Duration
		if err := (seconds{&d}).Set(text); err == nil {
			t.Errorf("%q is taken for %v", text, d)
		}
	}
}
