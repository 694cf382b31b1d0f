package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parse reads the text of a setting and checks its bounds.
func (f Field) parse(text string) (any, error) {
	switch f.Kind {
	case KindDSN:
		if text == "" {
			return nil, errors.New("it is empty")
		}
		return NewDSN(text), nil
	case KindSecret:
		return NewSecret(text), nil
	case KindCount:
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return n, f.within(float64(n), strconv.Itoa(n))
	case KindFactor:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return x, f.within(x, text)
	case KindDuration:
		v, err := ParseDuration(text)
		if err != nil {
			return nil, err
		}
		return v, f.within(float64(v), text)
	case KindBytes:
		b, err := ParseBytes(text)
		if err != nil {
			return nil, err
		}
		return b, f.within(float64(b), text)
	case KindSwitch:
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return text == "true", nil
	case KindChoice:
		if !slices.Contains(f.Choices, text) {
			return nil, fmt.Errorf("%q is none of %s", text, strings.Join(f.Choices, ", "))
		}
	}
	return text, nil
}

// within checks the bounds; NaN is within none.
func (f Field) within(x float64, shown string) error {
	switch {
	case x < 0:
		return fmt.Errorf("%s is negative", shown)
	case !(x >= f.Min):
		return fmt.Errorf("%s is below %s", shown, f.bound(f.Min))
	case f.Max != 0 && x > f.Max:
		return fmt.Errorf("%s is over %s", shown, f.bound(f.Max))
	}
	return nil
}

func (f Field) bound(x float64) string {
	if f.Kind == KindDuration {
		return FormatDuration(time.Duration(x))
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

// show is a value as text, with secrets hidden.
func show(v any) string {
	switch v := v.(type) {
	case time.Duration:
		return FormatDuration(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}
