package posthorn_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// An order is the message of most tests.
type order struct {
	N int `json:"n"`
}

// Kind names it.
func (order) Kind() string { return "order" }

// A checked message validates itself.
type checked struct{ Bad, Panic bool }

// Kind names it.
func (checked) Kind() string { return "checked" }

// Validate refuses a bad one.
func (c checked) Validate() error {
	if c.Panic {
		panic("validate")
	}
	if c.Bad {
		return errBoo
	}
	return nil
}

// A nameless message's kind cannot be used.
type nameless struct{}

// A spaced message's kind cannot, either.
type spaced struct{}

// Kind is empty.
func (nameless) Kind() string { return "" }

// Kind has a space.
func (spaced) Kind() string { return "two words" }

func ignore[T posthorn.Message](context.Context, T) error { return nil }

func TestRegistrationOfWhatCannotWorkPanicsAtOnce(t *testing.T) {
	for name, register := range map[string]func(m *posthorn.Mux){
		"has a handler already": func(m *posthorn.Mux) {
			posthorn.Handle(m, ignore[order])
			posthorn.HandleTx(m, func(context.Context, *posthorn.Tx, order) error { return nil })
		},
		"kind is empty":    func(m *posthorn.Mux) { posthorn.Handle(m, ignore[nameless]) },
		`kind "two words"`: func(m *posthorn.Mux) { posthorn.Handle(m, ignore[spaced]) },
		"timeout":          func(m *posthorn.Mux) { posthorn.Handle(m, ignore[order], posthorn.WithTimeout(0)) },
		"multiplier": func(m *posthorn.Mux) {
			posthorn.Handle(m, ignore[order], posthorn.WithRetry(posthorn.RetryPolicy{Multiplier: 0.1}))
		},
	} {
		text := panicOf(func() { register(posthorn.NewMux()) })
		if !strings.Contains(text, name) || !strings.HasPrefix(text, "posthorn: register posthorn_test.") {
			t.Errorf("panic %q, want one about %q", text, name)
		}
	}
}

// panicOf is the text with which fn panics.
func panicOf(fn func()) (text string) {
	defer func() { text, _ = recover().(string) }()
	fn()
	return ""
}

func TestMuxKnowsItsHandlers(t *testing.T) {
	m := posthorn.NewMux()
	posthorn.HandleTx(m, func(context.Context, *posthorn.Tx, order) error { return nil }, posthorn.WithRawTx(),
		posthorn.WithTimeout(time.Hour), posthorn.WithRetry(posthorn.RetryPolicy{MaxRetries: 9}))
	posthorn.Handle(m, ignore[checked])
	if kinds := m.Kinds(); !slices.Equal(kinds, []string{"checked", "order"}) {
		t.Errorf("kinds: %v", kinds)
	}
	h, ok := m.Handler("order")
	if !ok || h.Kind() != "order" || !h.Transactional() || !h.Alone() || h.Timeout() != time.Hour ||
		h.Retry().MaxRetries != 9 {
		t.Errorf("handler: %+v", h)
	}
	plain, _ := m.Handler("checked")
	if plain.Transactional() || plain.Alone() || plain.Timeout() != posthorn.DefaultTimeout || plain.Retry() != nil {
		t.Errorf("handler: %+v", plain)
	}
	if _, ok := m.Handler("nobody"); ok {
		t.Error("a handler for a kind that has none")
	}
}

func TestMiddlewareRunsAroundEveryHandlerTheFirstOutermost(t *testing.T) {
	m := posthorn.NewMux()
	var trace []string
	mw := func(name string) posthorn.Middleware {
		return func(ctx context.Context, d driver.Delivery, next func(context.Context) error) error {
			trace = append(trace, name+" "+d.ID)
			err := next(context.WithValue(ctx, order{}, name))
			trace = append(trace, name+" end")
			return err
		}
	}
	m.Use(mw("a"), mw("b"))
	m.Use(mw("c"))
	posthorn.Handle(m, func(ctx context.Context, _ order) error {
		trace = append(trace, "handler sees "+ctx.Value(order{}).(string))
		return errBoo
	})
	h, _ := m.Handler("order")
	_, err := h.Start(t.Context(), driver.Delivery{Envelope: driver.Envelope{ID: "1", Body: []byte(`{}`)}})
	want := []string{"a 1", "b 1", "c 1", "handler sees c", "c end", "b end", "a end"}
	if !errors.Is(err, errBoo) || !slices.Equal(trace, want) {
		t.Errorf("error %v, trace %q, want %q", err, trace, want)
	}
}

func TestMiddlewareMayRefuseToCallTheHandler(t *testing.T) {
	m := posthorn.NewMux()
	m.Use(func(context.Context, driver.Delivery, func(context.Context) error) error { return errBoo })
	posthorn.HandleEffect(m, func(context.Context, order) (posthorn.Effect, error) {
		t.Error("the handler ran")
		return nil, nil
	})
	h, _ := m.Handler("order")
	effect, err := h.Start(t.Context(), driver.Delivery{Envelope: driver.Envelope{Body: []byte(`{}`)}})
	if effect != nil || !errors.Is(err, errBoo) {
		t.Errorf("error %v", err)
	}
}

func TestHandlerRefusesABodyThatDoesNotDecodeOrValidate(t *testing.T) {
	m := posthorn.NewMux()
	posthorn.Handle(m, ignore[checked])
	h, _ := m.Handler("checked")
	for body, want := range map[string]driver.Class{
		`{"Bad":true}`: driver.ClassInvalid, `{"Panic":true}`: driver.ClassUndecodable, `{`: driver.ClassUndecodable,
		"": driver.ClassUndecodable, `{"Bad":1}`: driver.ClassUndecodable, `{} {}`: driver.ClassUndecodable,
		`{}`: driver.ClassDone,
	} {
		if err := h.Check([]byte(body)); posthorn.ClassOf(err) != want {
			t.Errorf("%q: error %v is %s, want %s", body, err, posthorn.ClassOf(err), want)
		}
	}
}

func TestPanicIsAnErrorWithItsStack(t *testing.T) {
	m := posthorn.NewMux()
	posthorn.Handle(m, func(context.Context, order) error { panic("oh no") })
	h, _ := m.Handler("order")
	_, err := h.Start(t.Context(), driver.Delivery{Envelope: driver.Envelope{Body: []byte(`{}`)}})
	var p *posthorn.PanicError
	if !errors.As(err, &p) || err.Error() != "panic: oh no" || !strings.Contains(p.Stack, "mux_test.go") {
		t.Errorf("error %v", err)
	}
}

func TestContextTellsTheDeliveryAndOutsideAHandlerItTellsNone(t *testing.T) {
	d := driver.Delivery{Envelope: driver.Envelope{ID: "x"}}
	if got, ok := posthorn.DeliveryFrom(posthorn.WithDelivery(t.Context(), d, nil)); !ok || got.ID != "x" {
		t.Errorf("delivery: %+v, %v", got, ok)
	}
	if _, ok := posthorn.DeliveryFrom(t.Context()); ok {
		t.Error("a delivery out of nowhere")
	}
	if posthorn.Logger(t.Context()) == nil || posthorn.Logger(posthorn.WithDelivery(t.Context(), d, nil)) == nil {
		t.Error("no logger")
	}
}
