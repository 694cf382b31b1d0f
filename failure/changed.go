package failure

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// Changed names what differs between two versions, in the words of queries: header.NAME,
// and payload.PATH for each value of the body that was added, replaced or removed; payload
// alone if a body is not JSON, or if only its spelling differs.
func (v Version) Changed(other Version) []string {
	var out []string
	for _, key := range union(v.Header, other.Header) {
		was, there := v.Header[key]
		is, stays := other.Header[key]
		if was != is || there != stays {
			out = append(out, "header."+key)
		}
	}
	if bytes.Equal(v.Body, other.Body) {
		return out
	}
	was, ok := decoded(v.Body)
	is, also := decoded(other.Body)
	var body []string
	if ok && also {
		body = differences("payload", was, is)
	}
	if len(body) == 0 {
		body = []string{"payload"}
	}
	return append(out, body...)
}

// decoded is what JSON stands for; numbers keep their digits.
func decoded(body []byte) (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, err == io.EOF
}

// differences are the paths below one at which two values differ.
func differences(path string, was, is any) (out []string) {
	switch was := was.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok {
			break
		}
		for _, key := range union(was, is) {
			a, there := was[key]
			b, stays := is[key]
			if there != stays {
				out = append(out, path+"."+key)
				continue
			}
			out = append(out, differences(path+"."+key, a, b)...)
		}
		return out
	case []any:
		is, ok := is.([]any)
		if !ok || len(is) != len(was) {
			break
		}
		for i := range was {
			out = append(out, differences(path+"."+strconv.Itoa(i), was[i], is[i])...)
		}
		return out
	}
	if !reflect.DeepEqual(was, is) {
		out = append(out, path)
	}
	return out
}

// union is the sorted keys of two maps.
func union[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}
