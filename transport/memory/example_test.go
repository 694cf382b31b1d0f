package memory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/transport/memory"
)

// A test gives the transport to the code that it tests, and looks at what that
// sent.
func Example() {
	ctx := context.Background()
	transport := memory.New(memory.Options{})
	defer transport.Close()

	err := transport.Send(ctx, driver.Envelope{ID: "m-1", Kind: "unsubscribe_email", Queue: "mail"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range transport.Live() {
		fmt.Println(e.ID, e.Kind, "waits in", e.Queue)
	}
	// Output: m-1 unsubscribe_email waits in mail
}

// What a handler gave up for good is kept, with the reason.
func ExampleTransport_Dead() {
	ctx := context.Background()
	transport := memory.New(memory.Options{})
	defer transport.Close()
	consumer, err := transport.Consume(ctx, driver.Subscription{Queues: []string{"mail"}, Lease: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = transport.Send(ctx, driver.Envelope{ID: "m-1", Kind: "unsubscribe_email", Queue: "mail"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ds, err := consumer.Receive(ctx, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = consumer.Settle(ctx, driver.Settlement{
		Delivery: ds[0], Verdict: driver.Bury, Reason: driver.ReasonRejected,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, letter := range transport.Dead() {
		fmt.Println(letter.Envelope.ID, "is dead:", letter.Reason)
	}
	// Output: m-1 is dead: rejected
}
