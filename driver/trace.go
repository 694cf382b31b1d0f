package driver

import "strings"

// The header fields in which a message carries its trace, as W3C Trace Context
// Level 1 (https://www.w3.org/TR/trace-context-1/) names them.
const (
	HeaderTraceparent = "traceparent"
	HeaderTracestate  = "tracestate"
)

// The lengths of the parts of a traceparent: version, trace id, span id, flags.
const (
	traceVersion = 2
	traceID      = 32
	spanID       = 16
	traceFlags   = 2
	traceparent  = traceVersion + 1 + traceID + 1 + spanID + 1 + traceFlags
)

// TraceID names the trace that the message was sent in, for logs and exemplars. It is
// empty when there is none, or its header field is no valid traceparent; else it is 32
// hexadecimal digits. sampled is what the sender says: whether the trace is likely kept.
func (e Envelope) TraceID() (id string, sampled bool) {
	s := e.Header[HeaderTraceparent]
	if len(s) < traceparent || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return "", false
	}
	version, trace, span, flags := s[:2], s[3:35], s[36:52], s[53:55]
	if !lowerHex(version) || !lowerHex(trace) || !lowerHex(span) || !lowerHex(flags) {
		return "", false
	}
	// A higher version may have more parts; ff is none.
	more := len(s) > traceparent && (version == "00" || s[traceparent] != '-')
	if version == "ff" || more || zeros(trace) || zeros(span) {
		return "", false
	}
	return trace, strings.IndexByte("13579bdf", flags[1]) >= 0
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func zeros(s string) bool { return strings.Trim(s, "0") == "" }
