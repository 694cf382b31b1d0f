package store

import "database/sql"

// EncodeHeader is for the fuzz test.
func EncodeHeader(h map[string]string) (sql.NullString, error) { return encodeHeader(h) }

// DecodeHeader is for the fuzz test.
func DecodeHeader(s sql.NullString) (map[string]string, error) { return decodeHeader(s) }
