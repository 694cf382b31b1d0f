package postgres

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"pgregory.net/rapid"
)

// What is written at once is what pgx would have written.
func TestArraysAreWrittenAsPgxWritesThem(t *testing.T) {
	ours, theirs := pgtype.NewMap(), pgtype.NewMap()
	writesArrays(ours)
	rapid.Check(t, func(t *rapid.T) {
		all := map[uint32]any{
			pgtype.TextArrayOID:  texts(rapid.SliceOf(rapid.String()).Draw(t, "texts")),
			pgtype.Int8ArrayOID:  integers(rapid.SliceOf(rapid.Int64()).Draw(t, "integers")),
			pgtype.ByteaArrayOID: bodies(rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "bodies")),
		}
		if bs := all[pgtype.ByteaArrayOID].(bodies); len(bs) > 0 && rapid.Bool().Draw(t, "null") {
			bs[0] = nil
		}
		before := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "before")
		for oid, value := range all {
			got, err := ours.Encode(oid, pgtype.BinaryFormatCode, value, bytes.Clone(before))
			if err != nil {
				t.Fatal(err)
			}
			want, err := theirs.Encode(oid, pgtype.BinaryFormatCode, value, bytes.Clone(before))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%v is written as %x, by pgx as %x", value, got, want)
			}
		}
	})
}

// Slices of the user's own, and text, are pgx's still.
func TestOtherArraysAreLeftToPgx(t *testing.T) {
	ours, theirs := pgtype.NewMap(), pgtype.NewMap()
	writesArrays(ours)
	for oid, value := range map[uint32]any{
		pgtype.TextArrayOID: []string{"a", `b"`}, pgtype.Int8ArrayOID: []int64{1, -2},
		pgtype.ByteaArrayOID: [][]byte{{1}, nil},
	} {
		for _, format := range []int16{pgtype.TextFormatCode, pgtype.BinaryFormatCode} {
			got, err := ours.Encode(oid, format, value, nil)
			want, wantErr := theirs.Encode(oid, format, value, nil)
			if err != nil || wantErr != nil || !bytes.Equal(got, want) {
				t.Errorf("%v is written as %q (%v), by pgx as %q (%v)", value, got, err, want, wantErr)
			}
		}
	}
	got, err := ours.Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, texts{"a", "b c"}, nil)
	if err != nil || string(got) != `{a,"b c"}` {
		t.Errorf("in text: %q, %v", got, err)
	}
}
