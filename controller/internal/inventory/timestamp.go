package inventory

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// timestamp is a YAML date or time. Ansible shows it as ISO text.
type timestamp struct {
	at   time.Time
	date bool // no time of day
	zone bool // with an offset from UTC
}

var timestampRE = regexp.MustCompile(
	`^(?:([0-9]{4})-([0-9]{2})-([0-9]{2})` +
		`|([0-9]{4})-([0-9][0-9]?)-([0-9][0-9]?)(?:[Tt]|[ \t]+)` +
		`([0-9][0-9]?):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?` +
		`(?:[ \t]*(?:(Z)|([-+])([0-9][0-9]?)(?::([0-9]{2}))?))?)$`)

// timestampFields splits s as PyYAML's rule for timestamps does.
func timestampFields(s string) ([]string, bool) {
	if len(s) < 8 || s[4] != '-' {
		return nil, false
	}
	m := timestampRE.FindStringSubmatch(s)
	return m, m != nil
}

// parseTimestamp makes a timestamp of the fields, refusing days that no
// calendar has.
func parseTimestamp(f []string) (any, error) {
	num := func(i int) int {
		n, err := strconv.Atoi(f[i])
		if err != nil {
			return 0 // an optional field
		}
		return n
	}
	t := timestamp{date: f[1] != ""}
	y, mo, d, h, mi, s := num(4), num(5), num(6), num(7), num(8), num(9)
	if t.date {
		y, mo, d = num(1), num(2), num(3)
	}
	micros := 0
	if f[10] != "" {
		micros, _ = strconv.Atoi((f[10] + "000000")[:6])
	}
	zone := time.UTC
	if f[11] != "" || f[12] != "" {
		t.zone = true
		offset := num(13)*3600 + num(14)*60
		if f[12] == "-" {
			offset = -offset
		}
		if offset <= -86400 || offset >= 86400 {
			return nil, fmt.Errorf("%q is not a time: the offset is a day or more", f[0])
		}
		zone = time.FixedZone("", offset)
	}
	t.at = time.Date(y, time.Month(mo), d, h, mi, s, micros*1000, zone)
	if y == 0 || t.at.Month() != time.Month(mo) || t.at.Day() != d ||
		t.at.Hour() != h || t.at.Minute() != mi || t.at.Second() != s {
		return nil, fmt.Errorf("%q looks like a date, but there is no such day or time", f[0])
	}
	return t, nil
}

// iso is Python's isoformat.
func (t timestamp) iso() string { return t.format("T") }

// text is Python's str.
func (t timestamp) text() string { return t.format(" ") }

func (t timestamp) format(sep string) string {
	if t.date {
		return t.at.Format("2006-01-02")
	}
	layout := "2006-01-02" + sep + "15:04:05"
	if t.at.Nanosecond() != 0 {
		layout += ".000000"
	}
	if t.zone {
		layout += "-07:00"
	}
	return t.at.Format(layout)
}

// repr is Python's repr.
func (t timestamp) repr() string {
	if t.date {
		return fmt.Sprintf("datetime.date(%d, %d, %d)", t.at.Year(), int(t.at.Month()), t.at.Day())
	}
	s := fmt.Sprintf("datetime.datetime(%d, %d, %d, %d, %d", t.at.Year(), int(t.at.Month()), t.at.Day(), t.at.Hour(), t.at.Minute())
	micros := t.at.Nanosecond() / 1000
	if sec := t.at.Second(); sec != 0 || micros != 0 {
		s += fmt.Sprintf(", %d", sec)
	}
	if micros != 0 {
		s += fmt.Sprintf(", %d", micros)
	}
	if t.zone {
		s += ", tzinfo=" + t.zoneRepr()
	}
	return s + ")"
}

func (t timestamp) zoneRepr() string {
	_, offset := t.at.Zone()
	switch {
	case offset == 0:
		return "datetime.timezone.utc"
	case offset > 0:
		return fmt.Sprintf("datetime.timezone(datetime.timedelta(seconds=%d))", offset)
	default: // Python keeps the seconds of a timedelta positive
		return fmt.Sprintf("datetime.timezone(datetime.timedelta(days=-1, seconds=%d))", 86400+offset)
	}
}
