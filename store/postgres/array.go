package postgres

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
)

// Arrays of parameters, which pgx encodes through pgtype.ArrayGetter where arrayCodec does not. Of
// its own slices it puts each element into an interface of its own, which is an allocation for each
// value of a row; of these it gets pointers.
type (
	// texts are a text[].
	texts []string
	// integers are a bigint[].
	integers []int64
	// bodies are a bytea[].
	bodies [][]byte
	// headers are a text[] of which some may be null.
	headers []sql.NullString
)

// knowsArrays has connections know what arrays these are, where they do not ask the server: behind a
// pooler.
func knowsArrays() stdlib.OptionOpenDB {
	return stdlib.OptionAfterConnect(func(_ context.Context, c *pgx.Conn) error {
		types := c.TypeMap()
		writesArrays(types)
		types.RegisterDefaultPgType(texts{}, "_text")
		types.RegisterDefaultPgType(headers{}, "_text")
		types.RegisterDefaultPgType(integers{}, "_int8")
		types.RegisterDefaultPgType(bodies{}, "_bytea")
		return nil
	})
}

// Elements of the arrays, as pgx asks for them.
type (
	// text is one of texts or headers.
	text string
	// integer is one of integers.
	integer int64
	// body is one of bodies.
	body []byte
)

// TextValue is the element.
func (e *text) TextValue() (pgtype.Text, error) {
	return pgtype.Text{String: string(*e), Valid: true}, nil
}

// Int64Value is the element.
func (e *integer) Int64Value() (pgtype.Int8, error) {
	return pgtype.Int8{Int64: int64(*e), Valid: true}, nil
}

// BytesValue is the element.
func (e *body) BytesValue() ([]byte, error) { return *e, nil }

// Dimensions says how many there are.
func (a texts) Dimensions() []pgtype.ArrayDimension { return row(len(a)) }

// Index is one of them.
func (a texts) Index(i int) any { return (*text)(&a[i]) }

// IndexType is what Index returns.
func (texts) IndexType() any { return new(text) }

// Dimensions says how many there are.
func (a integers) Dimensions() []pgtype.ArrayDimension { return row(len(a)) }

// Index is one of them.
func (a integers) Index(i int) any { return (*integer)(&a[i]) }

// IndexType is what Index returns.
func (integers) IndexType() any { return new(integer) }

// Dimensions says how many there are.
func (a bodies) Dimensions() []pgtype.ArrayDimension { return row(len(a)) }

// Index is one of them.
func (a bodies) Index(i int) any { return (*body)(&a[i]) }

// IndexType is what Index returns.
func (bodies) IndexType() any { return new(body) }

// Dimensions says how many there are.
func (a headers) Dimensions() []pgtype.ArrayDimension { return row(len(a)) }

// Index is one of them; nil is no header.
func (a headers) Index(i int) any {
	if !a[i].Valid {
		return nil
	}
	return (*text)(&a[i].String)
}

// IndexType is what Index returns.
func (headers) IndexType() any { return new(text) }

// row are the dimensions of an array of n.
func row(n int) []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(n), LowerBound: 1}}
}
