package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// day is the longest unit of a duration.
const day = 24 * time.Hour

// ParseDuration reads a length of time with its unit: 250ms, 90s, 1h30m, 30d,
// 1d12h. It refuses negative ones.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, fmt.Errorf("%q has no unit: write %ss for seconds", s, s)
	}
	rest, days := s, time.Duration(0)
	if head, tail, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 32)
		if err != nil || n > uint64(math.MaxInt64/day) {
			return 0, badDuration(s)
		}
		days, rest = time.Duration(n)*day, tail
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	switch {
	case err != nil:
		return 0, badDuration(s)
	case d < 0:
		return 0, fmt.Errorf("%q is negative", s)
	case days > math.MaxInt64-d:
		return 0, badDuration(s)
	}
	return days + d, nil
}

func badDuration(s string) error {
	return fmt.Errorf("%q is not a duration like 250ms, 90s, 1h30m or 30d", s)
}

// ParseSeconds is ParseDuration that reads a bare number as seconds, which is
// what Symfony's --time-limit and --sleep mean.
func ParseSeconds(s string) (time.Duration, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return ParseDuration(s)
	}
	ns := n * float64(time.Second)
	if math.IsNaN(ns) || ns < 0 || ns >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a number of seconds", s)
	}
	return time.Duration(ns), nil
}

// FormatDuration writes a duration without its zero parts: 1h, not 1h0m0s.
func FormatDuration(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Bytes is an amount of memory.
type Bytes int64

// byteUnit is a unit of Bytes.
type byteUnit struct {
	name string
	size Bytes
}

// byteUnits lists the units, the longer names first. The single letters are
// binary, as PHP's memory_limit and Symfony's --memory-limit read them.
func byteUnits() []byteUnit {
	return []byteUnit{
		{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
		{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"B", 1},
	}
}

// ParseBytes reads an amount with its unit: 512MiB, 512M (the same), 1GB. A
// bare number is in bytes.
func ParseBytes(s string) (Bytes, error) {
	number, unit := s, Bytes(1)
	for _, u := range byteUnits() {
		if len(s) > len(u.name) && strings.EqualFold(s[len(s)-len(u.name):], u.name) {
			number, unit = s[:len(s)-len(u.name)], u.size
			break
		}
	}
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && Bytes(n) > math.MaxInt64/unit:
		return 0, fmt.Errorf("%q is too large", s)
	case err != nil:
		return 0, fmt.Errorf("%q is not a size like 512MiB, 512M or 1GB", s)
	}
	return Bytes(n) * unit, nil
}

// String writes the amount in the largest binary unit that is exact.
func (b Bytes) String() string {
	for _, u := range byteUnits()[:3] {
		if b >= u.size && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
