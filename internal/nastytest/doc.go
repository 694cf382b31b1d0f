// Package nastytest holds the corpus of handlers that misbehave on a database
// server: they end the transaction, change the session, leave things open, or
// outlive their message. It has no code of its own. Each case runs between
// innocent messages on a private server, and again among a thousand of them.
package nastytest
