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

// encodesTexts is the plan of texts.
type encodesTexts struct{}

// Encode appends the array.
func (encodesTexts) Encode(value any, buf []byte) ([]byte, error) {
	e := elements[string]{
		pgtype.TextOID, func(s string) int { return len(s) }, func(buf []byte, s string) []byte { return append(buf, s...) },
	}
	return e.write(buf, value.(texts)), nil
}

// encodesBodies is the plan of bodies.
type encodesBodies struct{}

// Encode appends the array.
func (encodesBodies) Encode(value any, buf []byte) ([]byte, error) {
	e := elements[[]byte]{pgtype.ByteaOID, func(b []byte) int {
		if b == nil {
			return null
		}
		return len(b)
	}, func(buf, b []byte) []byte { return append(buf, b...) }}
	return e.write(buf, value.(bodies)), nil
}

// encodesIntegers is the plan of integers.
type encodesIntegers struct{}

// Encode appends the array.
func (encodesIntegers) Encode(value any, buf []byte) ([]byte, error) {
	e := elements[int64]{pgtype.Int8OID, func(int64) int { return 8 }, func(buf []byte, n int64) []byte {
		return binary.BigEndian.AppendUint64(buf, uint64(n))
	}}
	return e.write(buf, value.(integers)), nil
}

// null is the size of an element that is null.
const null = -1

// elements says how those of an array are written.
type elements[T any] struct {
	oid   uint32
	size  func(T) int
	value func([]byte, T) []byte
}

// write appends an array of one dimension in PostgreSQL's binary format, that of array_send and
// array_recv (src/backend/utils/adt/arrayfuncs.c): the number of dimensions, whether there are nulls, the type
// of the elements; of each dimension its length and its first index; of each element its length and itself.
func (e elements[T]) write(buf []byte, all []T) []byte {
	const header, prefix = 5 * 4, 4
	total, nulls := header+prefix*len(all), uint32(0)
	for _, one := range all {
		if n := e.size(one); n == null {
			nulls = 1
		} else {
			total += n
		}
	}
	buf = slices.Grow(buf, total)
	for _, field := range []uint32{1, nulls, e.oid, uint32(len(all)), 1} {
		buf = binary.BigEndian.AppendUint32(buf, field)
	}
	for _, one := range all {
		n := e.size(one)
		buf = binary.BigEndian.AppendUint32(buf, uint32(int32(n)))
		if n != null {
			buf = e.value(buf, one)
		}
	}
	return buf
}
