// Package faulttest holds the tests that do harm to database servers, and to
// the way to them, while Posthorn works. It has no code of its own: each test
// starts a private server, puts it under load, injects one fault again and
// again, and asks a ledger outside the store what became of every message.
package faulttest
