package operation

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/mutant"
)

// A Fate is where a letter of an operation stands, as its record has it.
type Fate int

// The fates. Their numbers are in the records.
const (
	FateWaiting Fate = iota // it has had no turn
	FateFlying
	FateDone
	FateFailed
	FateGone
	FateRefused
)

// Fates are letters, by what has become of them.
type Fates map[Fate][]int64

// Add notes what has become of letters.
func (f Fates) Add(fate Fate, letters ...int64) { f[fate] = append(f[fate], letters...) }

// A Flyer is a letter in flight: whether its message is live, and whether it died since the
// letter was sent.
type Flyer struct {
	Letter     int64
	Live, Dead bool
	InHand     bool // a worker holds the message
}

// fate is what has become of it. A message that is neither live nor dead is done. What died
// again has failed, whatever somebody has done to it since, unless it is live again.
func (f Flyer) fate() Fate {
	switch {
	case f.Live:
		return FateFlying
	case f.Dead:
		return FateFailed
	}
	return FateDone
}

// A Letter is one whose turn it is, and that nobody else can change now.
type Letter struct {
	Seq  int64
	ID   string // of its message
	Fits bool   // it is discarded, or not, as the operation wants it
	Size int64  // of its body
}

// Letters are those of one operation, within the transaction of a step. The order of letters is that of their numbers.
type Letters interface {
	// Freeze writes down the next letters that are meant, at most so many. It returns how
	// many they are, and up to which letter all have been judged.
	Freeze(ctx context.Context, most int) (n int, past int64, err error)
	// Flying finds the next letters in flight after one.
	Flying(ctx context.Context, after int64, most int) ([]Flyer, error)
	// Next finds the first letters that have had no turn.
	Next(ctx context.Context, most int) ([]int64, error)
	// Lock reads letters, and keeps others from changing them. It leaves out those that
	// are no letters any more.
	Lock(ctx context.Context, letters []int64) (map[int64]Letter, error)
	// Change does to letters what the operation is for, and adds each to a fate. No two
	// are of one message.
	Change(ctx context.Context, letters []Letter, found Fates) error
	// Mark writes down what has become of letters.
	Mark(ctx context.Context, found Fates) error
}

// A Step is the next piece of an operation's work, in one transaction, in which nobody else can change
// the operation: it writes letters down, or notes what has become of those in flight, and
// lets the next ones have their turn as far as stage, rate and state allow.
type Step struct {
	*Course
	Letters Letters
	Bounds  Bounds
	Pace    Pace
	Rest    bool // only what is in flight is looked at
	Now     time.Time

	Moved    int           // letters that had their turn
	Found    int           // outcomes that were found
	InHand   int           // letters in flight that a worker holds, of those that were looked at
	More     bool          // there was as much to do as fits into a step
	Wait     time.Duration // until the rate allows another letter; 0: it does, or there is none
	Stopped  bool          // the operation has stopped by itself
	Finished bool          // it is done
}

// Run takes the step. After an error, nothing of it may be kept.
func (s *Step) Run(ctx context.Context) (err error) {
	if s.State == Freezing {
		err = s.freeze(ctx)
	} else {
		err = s.carryOn(ctx)
	}
	if err != nil {
		return err
	}
	s.Finished = s.finish(s.Now)
	if wait := s.Next.Sub(s.Now); s.State == Running && s.Left() > 0 && wait > 0 {
		s.Wait = wait
	}
	return nil
}

func (s *Step) rests() bool { return s.Rest && !mutant.RestIgnored }

// freeze writes down the next letters that are meant.
func (s *Step) freeze(ctx context.Context) error {
	if s.rests() {
		return nil
	}
	n, past, err := s.Letters.Freeze(ctx, s.toFreeze(s.Bounds))
	if err != nil {
		return err
	}
	s.froze(n, past, s.Now)
	s.More = true
	return nil
}

// carryOn looks after what is in flight, and lets the next letters have their turn.
func (s *Step) carryOn(ctx context.Context) error {
	if err := s.look(ctx); err != nil {
		return err
	}
	if s.Stopped = s.judge(s.Bounds); s.Stopped {
		return nil
	}
	n := s.Allowed(s.Bounds, s.Now)
	if s.Pace.most > 0 {
		n = min(n, s.Pace.most)
	}
	if n == 0 || s.rests() {
		return nil
	}
	return s.move(ctx, n)
}

// look finds out what has become of some letters in flight.
func (s *Step) look(ctx context.Context) error {
	if s.Flying == 0 {
		return nil
	}
	flyers, err := s.Letters.Flying(ctx, s.Looked, s.Bounds.Look)
	if err != nil {
		return err
	}
	found := Fates{}
	for _, f := range flyers {
		s.Looked = f.Letter
		if f.InHand {
			s.InHand++
		}
		if fate := f.fate(); fate != FateFlying {
			found.Add(fate, f.Letter)
			s.note(s.Bounds, fate == FateDone)
			s.Found++
		}
	}
	s.More = len(flyers) == s.Bounds.Look
	if !s.More { // at the end: begin anew
		s.Looked = 0
	}
	return s.Letters.Mark(ctx, found)
}

// move lets the next n letters have their turn.
func (s *Step) move(ctx context.Context, n int) error {
	next, err := s.Letters.Next(ctx, n)
	if err != nil || len(next) == 0 {
		return err
	}
	found := Fates{}
	if s.Pace.skip {
		found.Add(FateRefused, next[0])
	} else if err := s.change(ctx, next, found); err != nil {
		return err
	}
	for _, letters := range found {
		s.Moved += len(letters)
	}
	s.took(found, s.Now)
	s.More = s.More || s.Allowed(s.Bounds, s.Now) > 0
	return s.Letters.Mark(ctx, found)
}

// change locks letters and changes them, and says what has become of each. It leaves
// some out if they are too large for one transaction.
func (s *Step) change(ctx context.Context, next []int64, found Fates) error {
	locked, err := s.Letters.Lock(ctx, next)
	if err != nil {
		return err
	}
	taken, size := map[string]bool{}, int64(0)
	var ls []Letter
	for _, seq := range next {
		l, ok := locked[seq]
		switch {
		case !ok, !l.Fits:
			found.Add(FateGone, seq)
		case taken[l.ID] || len(ls) > 0 && size+l.Size > s.Bounds.Bytes: // two of one id cannot both be live, or dead
		default:
			taken[l.ID] = true
			size += l.Size
			ls = append(ls, l)
		}
	}
	if len(ls) == 0 {
		return nil
	}
	return s.Letters.Change(ctx, ls, found)
}
