// Package failpoint names the moments in which a message is on its way from one state to
// the next, and lets a build that is made for it (build tag posthorn_failpoints) kill its
// own process there. What a crash at such a moment leaves is what the store's promises are
// about, and a kill from outside hits it by chance alone.
//
// A normal build has no trace of it: Pass is an empty function there, which the compiler
// leaves out.
package failpoint

// Tag is the build tag of a build that can die at a point.
const Tag = "posthorn_failpoints"

// Variable is the environment variable that names a directory. In a build with Tag, a file
// there that has the name of a point arms it: who passes the point removes the file, and
// then kills its process. Each byte of the file lets somebody pass before.
const Variable = "POSTHORN_FAILPOINTS"

// A Point is a moment, by its name.
type Point string

// The points. What is written is not committed at those that begin with mid.
const (
	MidMigrate    Point = "midMigrate"    // a migration has run, and is not noted
	MidSend       Point = "midSend"       // messages are inserted
	AfterSend     Point = "afterSend"     // messages are accepted, and their sender does not know
	MidClaim      Point = "midClaim"      // messages are leased
	AfterClaim    Point = "afterClaim"    // messages are leased, and no slot has them
	MidExtend     Point = "midExtend"     // leases are renewed
	BeforeEffect  Point = "beforeEffect"  // a claim is settled, its effect has not begun
	AfterEffect   Point = "afterEffect"   // an effect has run
	BeforeCommit  Point = "beforeCommit"  // all effects of a group have run
	AfterCommit   Point = "afterCommit"   // a group is committed, and the worker does not know
	BeforeSettle  Point = "beforeSettle"  // verdicts are known, and not in the store
	MidAck        Point = "midAck"        // messages that are done are removed
	MidBury       Point = "midBury"       // a dead letter is kept, its message not removed
	MidRetry      Point = "midRetry"      // a message is to be tried again, the attempt is not noted
	MidRelease    Point = "midRelease"    // a message is given back
	AfterSettle   Point = "afterSettle"   // verdicts are in the store, and the worker does not know
	MidPromote    Point = "midPromote"    // messages that have come due are ready
	MidRescue     Point = "midRescue"     // a crash is noted, its message still leased to who died
	MidReap       Point = "midReap"       // messages of a dead worker are given back, the crash is not noted
	MidReapBury   Point = "midReapBury"   // a dead letter of a message that kills is kept, the message not removed
	MidFree       Point = "midFree"       // suspects are ready again
	MidLetterBack Point = "midLetterBack" // a dead letter is a message again, and still a letter
	MidOperation  Point = "midOperation"  // letters of an operation are changed, which it has not noted
)

// Points lists all points.
func Points() []Point {
	return []Point{
		MidMigrate, MidSend, AfterSend, MidClaim, AfterClaim, MidExtend, BeforeEffect, AfterEffect, BeforeCommit,
		AfterCommit, BeforeSettle, MidAck, MidBury, MidRetry, MidRelease, AfterSettle, MidPromote, MidRescue,
		MidReap, MidReapBury, MidFree, MidLetterBack, MidOperation,
	}
}
