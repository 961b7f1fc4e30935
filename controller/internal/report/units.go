package report

import (
	"fmt"
	"time"
)

// size shows bytes in decimal units: 67.1 MB.
func size(n int64) string {
	value, unit := scale(n)
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%s %s", three(value), unit)
}

// sizeOf shows a part and its whole in the unit of the whole: 12.0/67.1 MB.
func sizeOf(done, total int64) string {
	value, unit := scale(total)
	return fmt.Sprintf("%s/%s %s", three(float64(done)*value/float64(max(total, 1))), three(value), unit)
}

func scale(n int64) (float64, string) {
	value := float64(n)
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if value < 999.5 {
			return value, unit
		}
		value /= 1000
	}
	return value, "TB"
}

// three shows about three digits.
func three(v float64) string {
	if v >= 99.95 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// rate shows bytes a second, or nothing while it is not known.
func rate(perSecond float64) string {
	if perSecond < 1 {
		return ""
	}
	return size(int64(perSecond)) + "/s"
}

// clock shows a duration in a running display: 07 s, 2:07, 1:02:07.
func clock(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	default:
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
}

// seconds shows how long something took: 0.42 s, 12.3 s, 2:07.
func seconds(s float64) string {
	switch {
	case s < 9.995:
		return fmt.Sprintf("%.2f s", s)
	case s < 59.95:
		return fmt.Sprintf("%.1f s", s)
	default:
		return clock(time.Duration(s * float64(time.Second)))
	}
}

// count is "1 host", "3 hosts".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
