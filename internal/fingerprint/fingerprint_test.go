package fingerprint_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/fingerprint"
)

// base is a failure that tests change.
func base() fingerprint.Failure {
	return fingerprint.Failure{
		Kind: "k", Class: driver.ClassFailure, Chain: []string{"*pq.Error"}, Text: "user 17 is gone",
	}
}

func TestTheFingerprintOfAVersionNeverChanges(t *testing.T) {
	f := base()
	if got := fingerprint.Of(f); got != "0186ae79212199f7" {
		t.Errorf("it is %s: letters in stores have another one", got)
	}
}

func TestWhatDiffersBetweenMessagesDoesNotCountAndAllElseDoes(t *testing.T) {
	same, mark := base(), fingerprint.Of(base())
	same.Text, same.Stack = "user 4711 is gone", "of no panic"
	if fingerprint.Of(same) != mark {
		t.Error("another number is another fault")
	}
	for what, change := range map[string]func(*fingerprint.Failure){
		"kind":  func(f *fingerprint.Failure) { f.Kind = "other" },
		"class": func(f *fingerprint.Failure) { f.Class = driver.ClassTimeout },
		"chain": func(f *fingerprint.Failure) { f.Chain = []string{"*a.A", "*pq.Error"} },
		"text":  func(f *fingerprint.Failure) { f.Text = "user 17 is here" },
		"own":   func(f *fingerprint.Failure) { f.Own = "gone" },
	} {
		f := base()
		if change(&f); fingerprint.Of(f) == mark {
			t.Errorf("another %s is the same fault", what)
		}
	}
}

func TestAnErrorThatNamesItsFaultIsTakenAtItsWord(t *testing.T) {
	err := fmt.Errorf("pay: %w", posthorn.WithFingerprint(errors.New("bank 17 says no"), "bank_refuses"))
	f, other := base(), base()
	f.Own, f.Text, f.Chain = fingerprint.Own(err), err.Error(), fingerprint.Chain(err)
	other.Own, other.Text, other.Chain = "bank_refuses", "another text", nil
	if fingerprint.Of(f) != fingerprint.Of(other) || f.Own != "bank_refuses" || err.Error() != "pay: bank 17 says no" {
		t.Errorf("%q, own fingerprint %q", err, f.Own)
	}
	if posthorn.WithFingerprint(nil, "x") != nil {
		t.Error("nil became an error")
	}
}

func TestAChainHasTheTypesThatTellSomething(t *testing.T) {
	err := posthorn.Reject(fmt.Errorf("open: %w", errors.Join(
		&fs.PathError{Op: "open", Path: "p", Err: fs.ErrNotExist}, &posthorn.PanicError{Value: 1}, driver.ErrTimeout)))
	want := []string{"*fs.PathError"}
	if got := fingerprint.Chain(err); !slices.Equal(got, want) || fingerprint.Type(got) != want[0] {
		t.Errorf("chain %v", got)
	}
	if fingerprint.Chain(nil) != nil || fingerprint.Type(nil) != "" {
		t.Error("nil has a chain")
	}
}

const stack = `goroutine 41 [running]:
runtime/debug.Stack()
	/usr/local/go/src/runtime/debug/stack.go:26 +0x5e
github.com/posthorn/posthorn.recovered(...)
	/src/posthorn/mux.go:10
panic({0x1?, 0x2?})
	/usr/local/go/src/runtime/panic.go:792 +0x132
strings.Repeat({0x5, 0x1}, 0xff)
	/usr/local/go/src/strings/strings.go:618 +0x5
shop/orders.(*Book[...]).Total(0xc0001)
	/src/shop/orders/book.go:%d +0x1d
main.handle(0x1)
	/src/shop/main.go:12 +0x1d
created by github.com/posthorn/posthorn/worker.(*Worker).run in goroutine 1
	/src/posthorn/worker/worker.go:9
`

func TestAPanicIsOfTheFunctionOfOnesOwnInWhichItArose(t *testing.T) {
	if got := fingerprint.Frame(fmt.Sprintf(stack, 17)); got != "shop/orders.(*Book).Total" {
		t.Errorf("frame %q", got)
	}
	for _, none := range []string{"", "\n", "panic(", "x", "goroutine 1 [running]:\npanic(1)\n\truntime.go:1"} {
		if got := fingerprint.Frame(none); got != "" {
			t.Errorf("%q has frame %q", none, got)
		}
	}
	mark := func(line int, frame string) string {
		return fingerprint.Of(fingerprint.Failure{
			Class: driver.ClassPanic, Text: "panic: boom 7", Stack: strings.ReplaceAll(fmt.Sprintf(stack, line), "Total", frame),
		})
	}
	if mark(1, "Total") != mark(2, "Total") || mark(1, "Total") == mark(1, "Tax") {
		t.Error("a line is another fault, or a function is not")
	}
}

func FuzzNormal(f *testing.F) {
	for _, seed := range []string{
		"", "user 17 'x\" /a/b1 0x17 http://u:p@h:1/v1/2?q=1 [::1]:2", "\xff", "Duplicate entry 'a' for key 'b'",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := fingerprint.Normal(text)
		if !utf8.ValidString(got) || len(got) > 500 || got != fingerprint.Normal(text) {
			t.Errorf("%q gives %q", text, got)
		}
		fingerprint.Frame(text)
	})
}
