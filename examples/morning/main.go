// Command morning is the program of docs/failed-messages.md: a shop whose handlers have
// bugs, some of which are mended when it is built with -tags mended.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
)

// Receipt asks for a receipt.
type Receipt struct {
	Order int64 `json:"order"`
	Cents int64 `json:"cents"`
	Items int64 `json:"items"` // 0 for vouchers
}

// Parcel asks for a parcel to be announced to its carrier.
type Parcel struct {
	Order   int64  `json:"order"`
	Carrier string `json:"carrier"`
	Grams   int64  `json:"grams"`
}

// Welcome asks for a customer to be welcomed.
type Welcome struct {
	To    string `json:"to"`
	Token string `json:"token"`
	Born  string `json:"born" posthorn:"secret"` // whoever looks at dead letters is not shown it
}

// Report asks for a report.
type Report struct {
	Sheet string `json:"sheet"`
}

// Kind names it.
func (Receipt) Kind() string { return "receipt" }

// Kind names it.
func (Parcel) Kind() string { return "parcel" }

// Kind names it.
func (Welcome) Kind() string { return "welcome" }

// Validate refuses what is no address.
func (w Welcome) Validate() error {
	if !strings.Contains(w.To, "@") {
		return errors.New("to is no address")
	}
	return nil
}

// Kind names it.
func (Report) Kind() string { return "report" }

// done notes that something was done, with the acknowledgement.
func done(ctx context.Context, tx *posthorn.Tx, what string) error {
	_, err := tx.ExecContext(ctx, "insert into morning_done (what) values (?)", what)
	return err
}

func handleReceipt(ctx context.Context, tx *posthorn.Tx, m Receipt) error {
	if mended && m.Items == 0 {
		return done(ctx, tx, fmt.Sprintf("receipt %d: voucher", m.Order))
	}
	return done(ctx, tx, fmt.Sprintf("receipt %d: %d an item", m.Order, m.Cents/m.Items))
}

func handleParcel(ctx context.Context, tx *posthorn.Tx, m Parcel) error {
	switch {
	case m.Grams == 0 && !mended:
		return fmt.Errorf("announce parcel of order %d: weight is missing", m.Order)
	case m.Grams == 0: // so it was believed that the carrier would weigh it
		return fmt.Errorf("announce parcel of order %d: carrier %q: 422 Unprocessable Entity", m.Order, m.Carrier)
	}
	return done(ctx, tx, fmt.Sprintf("parcel %d", m.Order))
}

func handleWelcome(ctx context.Context, tx *posthorn.Tx, m Welcome) error {
	if strings.HasSuffix(m.To, "@exmaple.org") {
		return posthorn.Reject(fmt.Errorf("send to %s: no such domain", m.To))
	}
	return done(ctx, tx, "welcome "+m.To)
}

func handleReport(ctx context.Context, tx *posthorn.Tx, m Report) error {
	if m.Sheet == "weekly" {
		return posthorn.Reject(errors.New("the weekly sheet is no longer made"))
	}
	return done(ctx, tx, "report "+m.Sheet)
}

func main() {
	once := posthorn.WithRetry(posthorn.RetryPolicy{MaxRetries: posthorn.NoRetry}) // so that the page need not wait
	mux := posthorn.NewMux()
	posthorn.HandleTx(mux, handleReceipt, once)
	posthorn.HandleTx(mux, handleParcel, once)
	posthorn.HandleTx(mux, handleWelcome)
	posthorn.HandleTx(mux, handleReport)
	cli.Main(cli.App{Name: "shop", Version: version, Mux: mux, Setup: func(ctx context.Context, env cli.Env) error {
		_, err := env.Store.DB().ExecContext(ctx, "create table if not exists morning_done (what text)")
		return err
	}})
}
