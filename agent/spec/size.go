package spec

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// units are the factors of sizes. KB, MB, GB, TB are powers of 1000, as on
// memory and disk labels; KiB, MiB, GiB, TiB, and the bare letters that df -h,
// systemd and Docker use, are powers of 1024.
var units = map[string]int64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// ParseSize reads a size such as 2GB, 512 MiB, 1.5G or 2000000000 as bytes. A
// fraction of a byte is dropped.
func ParseSize(s string) (int64, error) {
	text := strings.TrimSpace(s)
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] == '.') {
		end++
	}
	number, unit := text[:end], strings.ToLower(strings.TrimSpace(text[end:]))
	factor, ok := units[unit]
	whole, fraction, _ := strings.Cut(number, ".")
	if !ok || whole == "" || strings.Contains(fraction, ".") || strings.HasSuffix(number, ".") || len(fraction) > 9 {
		return 0, fmt.Errorf("%s is not a size", quote(s))
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%s is more than gofleet can count", quote(s))
	}
	n *= factor
	if fraction != "" {
		f, _ := strconv.ParseInt(fraction, 10, 64) // at most nine digits
		scale := int64(1)
		for range fraction {
			scale *= 10
		}
		// factor*f would overflow for TiB with nine digits.
		n += factor/scale*f + factor%scale*f/scale
	}
	if n < 0 {
		return 0, fmt.Errorf("%s is more than gofleet can count", quote(s))
	}
	return n, nil
}

// FormatSize writes bytes for people, in powers of 1000 with at most one
// decimal: 1.9 GB. It rounds down, so that too little never looks like enough.
func FormatSize(n int64) string {
	names := []string{"kB", "MB", "GB", "TB"}
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	f, i := n, -1
	tenths := int64(0)
	for f >= 1000 && i < len(names)-1 {
		tenths = f % 1000 / 100
		f /= 1000
		i++
	}
	if tenths == 0 || f >= 100 {
		return fmt.Sprintf("%d %s", f, names[i])
	}
	return fmt.Sprintf("%d.%d %s", f, tenths, names[i])
}

// size reads a size that is at least one MiB, or 0, which means none.
func (n *node) size() (int64, bool) {
	const example = `write a unit, like "2GB" or "512MiB"`
	var size int64
	switch v := n.v.(type) {
	case string:
		var err error
		if size, err = ParseSize(v); err != nil {
			n.fail(example, "%s", err)
			return 0, false
		}
	default:
		var ok bool
		if size, ok = n.whole(); !ok || size < 0 {
			n.fail(example, "must be a size, not %s", n.shown())
			return 0, false
		}
	}
	if size > 0 && size < 1<<20 {
		n.fail(example, "is only %d bytes", size)
		return 0, false
	}
	return size, true
}

// duration reads "5m", "1h30m", or a number of seconds, above zero.
func (n *node) duration(most time.Duration) (time.Duration, bool) {
	const example = `write it like "30s", "5m" or "1h30m"; a bare number is seconds`
	var d time.Duration
	if secs, ok := n.whole(); ok {
		if secs > int64(most/time.Second) {
			n.fail("", "is %d seconds; the most is %s", secs, most)
			return 0, false
		}
		d = time.Duration(secs) * time.Second
	} else {
		s, isText := n.v.(string)
		var err error
		if d, err = time.ParseDuration(strings.ReplaceAll(s, " ", "")); err != nil || !isText {
			n.fail(example, "must be a duration, not %s", n.shown())
			return 0, false
		}
	}
	if d <= 0 || d > most {
		n.fail(example, "is %s; it must be above 0 and at most %s", d, most)
		return 0, false
	}
	return d, true
}
