package postgres

import (
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"
)

// An arrayCodec is pgx's, but that it writes the arrays of parameters at once: pgx asks for
// the plan of each element, and lets its buffer grow as it goes.
type arrayCodec struct {
	pgtype.Codec
}

// PlanEncode is how a value is written.
func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if format == pgtype.BinaryFormatCode {
		switch value.(type) {
		case texts:
			return encodesTexts{}
		case bodies:
			return encodesBodies{}
		case integers:
			return encodesIntegers{}
		}
	}
	return c.Codec.PlanEncode(m, oid, format, value)
}

// writesArrays has a connection write arrays by the codec above.
func writesArrays(types *pgtype.Map) {
	for _, oid := range []uint32{pgtype.TextArrayOID, pgtype.ByteaArrayOID, pgtype.Int8ArrayOID} {
		if t, ok := types.TypeForOID(oid); ok {
			types.RegisterType(&pgtype.Type{Name: t.Name, OID: oid, Codec: arrayCodec{t.Codec}})
		}
	}
}

// The plans of the arrays that are written at once.
type (
	encodesTexts    struct{}
	encodesBodies   struct{}
	encodesIntegers struct{}
)

// Encode appends the array.
func (encodesTexts) Encode(value any, buf []byte) ([]byte, error) {
	all := value.(texts)
	return appendArray(buf, pgtype.TextOID, all, func(s string) int { return len(s) },
		func(buf []byte, s string) []byte { return append(buf, s...) }), nil
}

// Encode appends the array.
func (encodesBodies) Encode(value any, buf []byte) ([]byte, error) {
	all := value.(bodies)
	return appendArray(buf, pgtype.ByteaOID, all, func(b []byte) int {
		if b == nil {
			return null
		}
		return len(b)
	}, func(buf, b []byte) []byte { return append(buf, b...) }), nil
}

// Encode appends the array.
func (encodesIntegers) Encode(value any, buf []byte) ([]byte, error) {
	all := value.(integers)
	return appendArray(buf, pgtype.Int8OID, all, func(int64) int { return 8 },
		func(buf []byte, n int64) []byte { return binary.BigEndian.AppendUint64(buf, uint64(n)) }), nil
}

// null is the length of an element that is null.
const null = -1

// appendArray appends an array of one dimension in PostgreSQL's binary format, that of array_send and
// array_recv (src/backend/utils/adt/arrayfuncs.c): the number of dimensions, whether there are nulls, the type
// of the elements; of each dimension its length and its first index; of each element its length and itself.
func appendArray[T any](buf []byte, element uint32, all []T, size func(T) int, value func([]byte, T) []byte) []byte {
	const header, prefix = 5 * 4, 4
	total, nulls := header+prefix*len(all), uint32(0)
	for _, one := range all {
		if n := size(one); n == null {
			nulls = 1
		} else {
			total += n
		}
	}
	buf = slices.Grow(buf, total)
	for _, field := range []uint32{1, nulls, element, uint32(len(all)), 1} {
		buf = binary.BigEndian.AppendUint32(buf, field)
	}
	for _, one := range all {
		n := size(one)
		buf = binary.BigEndian.AppendUint32(buf, uint32(int32(n)))
		if n != null {
			buf = value(buf, one)
		}
	}
	return buf
}
