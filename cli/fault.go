package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// The exit codes. Scripts rely on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNothing     = 3  // nothing matched
	exitPartly      = 4  // some of it was done
	exitConfirm     = 5  // confirmation needed
	exitUnreachable = 69 // the store cannot be reached
	exitOurFault    = 70
	exitConfig      = 78
	exitInterrupted = 130 // told to stop twice
)

// A fault is an error as its reader sees it: what happened, where, and what to
// try, with a code that does not change.
type fault struct {
	Code    string
	Title   string
	What    string
	Where   string
	Excerpt string
	Try     string // a line for each thing
	Exit    int
	err     error
}

// Error gives the fault in one line.
func (f *fault) Error() string { return f.Title + ": " + f.What }

// Unwrap returns the cause.
func (f *fault) Unwrap() error { return f.err }

// outcome is an exit code whose reason has been told already.
type outcome int

// Error names the code.
func (o outcome) Error() string { return fmt.Sprintf("exit %d", int(o)) }

// report tells an error and returns the exit code.
func (s *session) report(err error) int {
	var (
		told   outcome
		faults *config.Error
		f      *fault
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &told):
		return int(told)
	case errors.As(err, &faults):
		for _, p := range faults.Problems {
			s.tell(&fault{Code: p.Code, Title: p.Title, What: p.What, Where: p.Where, Excerpt: p.Excerpt, Try: p.Try})
		}
		return exitConfig
	case errors.As(err, &f):
	default:
		f = s.explain(err)
	}
	s.tell(f)
	return f.Exit
}

// tell writes a fault to stderr.
func (s *session) tell(f *fault) {
	var b strings.Builder
	title := "error: " + printable.Text(f.Title)
	pad := max(71-uniseg.StringWidth(title), 1)
	fmt.Fprintf(&b, "%s%s%s\n", title, strings.Repeat(" ", pad), f.Code)
	for _, part := range []struct{ name, text string }{{"what", f.What}, {"where", f.Where}} {
		if part.text != "" {
			fmt.Fprintf(&b, "  %-6s %s\n", part.name, printable.Text(part.text))
		}
	}
	if f.Excerpt != "" { // its text has been made printable, and it has two lines
		fmt.Fprintf(&b, "       %s\n", strings.ReplaceAll(f.Excerpt, "\n", "\n       "))
	}
	for line := range strings.Lines(f.Try) {
		fmt.Fprintf(&b, "  %-6s %s\n", "try", printable.Text(strings.TrimSuffix(line, "\n")))
	}
	_, _ = s.io.Stderr.Write([]byte(b.String())) // nobody is left to be told
}

// usageFault is for a command line that was not understood.
func usageFault(cmd *cobra.Command, err error) error {
	var told *fault
	if errors.As(err, &told) {
		return err
	}
	return &fault{
		Code: "E-USAGE", Title: "cannot understand the command line", What: err.Error(), Exit: exitUsage,
		Try: cmd.CommandPath() + " --help", err: err,
	}
}

// usage makes a usage fault of a command's own.
func usage(what, try string) error {
	return &fault{Code: "E-USAGE", Title: "cannot understand the command line", What: what, Try: try, Exit: exitUsage}
}

// meaning is what a sentinel error means to the reader.
type meaning struct {
	is    error
	code  string
	title string
	try   string
	exit  int
}

// storeMeanings are the errors of opening and using a store.
func storeMeanings() []meaning {
	return []meaning{
		{open.ErrMissing, "E-STORE-MISSING", "there is no store", "check the address, or make it: transport setup",
			exitUnreachable},
		{open.ErrScheme, "E-STORE-ADDRESS", "cannot open this kind of store",
			"use one of the addresses that are supported", exitConfig},
		{store.ErrDSN, "E-STORE-ADDRESS", "cannot read the store's address",
			"write it like sqlite:posthorn.db, postgres://user@host:5432/database or mysql://user@host:3306/database",
			exitConfig},
		{store.ErrSession, "E-STORE-SESSION", "the server does not take a session setting",
			"correct it below session: in the configuration; config explain session", exitConfig},
		{store.ErrUntrusted, "E-STORE-UNTRUSTED", "the server's certificate is not trusted",
			"name its authority by sslrootcert= or tls-ca=, or correct the host's name", exitConfig},
		{store.ErrPlaintext, "E-STORE-PLAINTEXT", "the way to the store is not encrypted",
			"use TLS, or allow plaintext in the address", exitConfig},
		{store.ErrNotAStore, "E-STORE-FOREIGN", "this is not a Posthorn store",
			"check the address; Posthorn does not touch what it did not make", exitConfig},
		{store.ErrTooNew, "E-STORE-TOO-NEW", "the store is newer than this program",
			"run the Posthorn that migrated it, or a newer one", exitConfig},
		{store.ErrReadOnly, "E-STORE-READ-ONLY", "cannot write the store",
			"make the directory, and let this user write the file and its directory", exitUnreachable},
		{store.ErrNetworkFS, "E-STORE-NETWORK-FS", "the store is on a network file system",
			"put the file on a local disk", exitConfig},
		{store.ErrEngine, "E-STORE-ENGINE", "the database engine is too old", "build with a newer one", exitOurFault},
		{driver.ErrUnavailable, "E-STORE-UNREACHABLE", "cannot reach the store",
			"check that it is up, and that its disk is not full", exitUnreachable},
	}
}

// callMeanings are the errors of what was asked for.
func callMeanings() []meaning {
	return []meaning{
		{driver.ErrTooLarge, "E-MESSAGE-TOO-LARGE", "the message is too large",
			"store the data elsewhere and send where it is", exitFailed},
		{driver.ErrDuplicate, "E-MESSAGE-DUPLICATE", "a live message has this id",
			"wait until it is done, or give another id", exitFailed},
		{store.ErrChanged, "E-LETTER-CHANGED", "somebody else was faster", "look at it again: failed show", exitFailed},
		{driver.ErrInvalid, "E-MESSAGE-INVALID", "the message is not valid", "see dispatch --help", exitFailed},
		{driver.ErrUnsupported, "E-UNSUPPORTED", "the transport cannot do this", "use a transport in the store", exitFailed},
		{driver.ErrWrongStore, "E-WRONG-STORE", "two stores are mixed up",
			"begin the transaction on the database of the dispatcher's store", exitFailed},
		{fs.ErrNotExist, "E-FILE-MISSING", "there is no such file", "check the file's name", exitFailed},
	}
}

// explain makes a fault of any error.
func (s *session) explain(err error) *fault {
	var invalid *posthorn.InvalidError
	var undecoded *posthorn.DecodeError
	switch {
	case errors.As(err, &invalid):
		return &fault{Code: "E-MESSAGE-INVALID", Title: "the message is not valid", What: err.Error(), Exit: exitFailed,
			Try: "correct the body; nothing was stored", err: err}
	case errors.As(err, &undecoded):
		return &fault{Code: "E-MESSAGE-UNDECODABLE", Title: "the body does not fit the kind", What: err.Error(),
			Exit: exitFailed, Try: "correct the body; nothing was stored", err: err}
	}
	for _, m := range storeMeanings() {
		if errors.Is(err, m.is) {
			return s.storeFault(err)
		}
	}
	for _, m := range callMeanings() {
		if errors.Is(err, m.is) {
			return &fault{Code: m.code, Title: m.title, What: err.Error(), Try: m.try, Exit: m.exit, err: err}
		}
	}
	return &fault{Code: "E-FAILED", Title: "the command failed", What: err.Error(), Exit: exitFailed, err: err}
}

// storeFault says where the store's address comes from.
func (s *session) storeFault(err error) *fault {
	f := &fault{Code: "E-STORE-FAILED", Title: "cannot open the store", What: err.Error(), Exit: exitUnreachable, err: err}
	if errors.Is(err, context.Canceled) {
		return f
	}
	for _, m := range storeMeanings() {
		if errors.Is(err, m.is) {
			f.Code, f.Title, f.Try, f.Exit = m.code, m.title, m.try, m.exit
			break
		}
	}
	if s.cfg == nil {
		return f
	}
	f.Title += " (" + s.cfg.Store.Scheme() + ")"
	if at, ok := s.cfg.Setting("store"); ok {
		f.Where = fmt.Sprintf("%s  store = %s", at.Origin, at.Value)
	}
	return f
}
