package flight_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/flight"
)

// crashing is the variable that makes this test binary a process that dies.
const crashing = "POSTHORN_FLIGHT_TEST_CRASH"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashing); path != "" {
		crash(path)
	}
	os.Exit(m.Run())
}

func delivery(n int) driver.Delivery {
	return driver.Delivery{
		Envelope: driver.Envelope{ID: fmt.Sprintf("m-%d", n), Kind: "poison"},
		Token:    driver.Token(fmt.Sprintf("%d.TOKEN", n)),
	}
}

// crash begins three messages, ends one, and kills its process.
func crash(path string) {
	r, err := flight.Create(path, 8)
	if err != nil {
		os.Exit(3)
	}
	for n := range 3 {
		slot := r.Enter(delivery(n))
		if n == 1 {
			r.Leave(slot)
		}
	}
	p, _ := os.FindProcess(os.Getpid()) // it cannot fail
	_ = p.Kill()
	select {}
}

func TestRecordOutlivesAProcessThatWasKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashing+"="+path)
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the process was not killed: %v", err)
	}
	rec, err := flight.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !rec.Complete || len(rec.Running) != 2 {
		t.Fatalf("record: %+v", rec)
	}
	for i, n := range []int{0, 2} {
		e, d := rec.Running[i], delivery(n)
		if e.ID != d.ID || e.Token != d.Token || e.Kind != d.Kind || e.Since.IsZero() {
			t.Errorf("entry %d is %+v, want %+v", i, e, d)
		}
	}
}

func TestRecordSaysWhenItDoesNotKnowAll(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record")
	r := create(t, path, 2)
	slots := make([]int, 3)
	for n := range slots {
		slots[n] = r.Enter(delivery(n))
	}
	if rec := read(t, path); rec.Complete || len(rec.Running) != 2 {
		t.Errorf("with three in two slots: %+v", rec)
	}
	for _, slot := range slots {
		r.Leave(slot)
	}
	if rec := read(t, path); !rec.Complete || len(rec.Running) != 0 {
		t.Errorf("after all have left: %+v", rec)
	}
}

func TestRecorderIsSafeForConcurrentUseAndItsSlotsComeBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record")
	r := create(t, path, 4)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 1000 {
				r.Leave(r.Enter(delivery(n)))
			}
		})
	}
	wg.Wait()
	if rec := read(t, path); !rec.Complete || len(rec.Running) != 0 {
		t.Errorf("record: %+v", rec)
	}
}

func TestLongTextsAreCutAndNothingIsWrittenOutside(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record")
	r := create(t, path, 2)
	long := strings.Repeat("x", 10_000)
	r.Enter(driver.Delivery{Envelope: driver.Envelope{ID: long, Kind: long}, Token: driver.Token(long)})
	r.Enter(delivery(7))
	rec := read(t, path)
	if len(rec.Running) != 2 || rec.Running[1].ID != "m-7" || !strings.HasPrefix(long, rec.Running[0].ID) ||
		len(rec.Running[0].ID) < driver.MaxName || len(rec.Running[0].Kind) < driver.MaxName {
		t.Errorf("record: %+v", rec)
	}
}

func TestClosedRecorderTakesALateLeave(t *testing.T) {
	t.Parallel()
	r := create(t, filepath.Join(t.TempDir(), "record"), 1)
	slot := r.Enter(delivery(1))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.Leave(slot) // a handler that was left behind
	r.Leave(r.Enter(delivery(2)))
}

func FuzzReadTrustsNoFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed")
	r, err := flight.Create(path, 2)
	if err != nil {
		f.Fatal(err)
	}
	r.Enter(delivery(1))
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:100])
	f.Add(bytes.Repeat([]byte{0xff}, 1152))
	f.Add(append([]byte("PHFLT001"), bytes.Repeat([]byte{0xff}, 1144)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "record")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := flight.Read(path); err != nil && !errors.Is(err, flight.ErrNoRecord) {
			t.Errorf("error %v", err)
		}
	})
}

func create(t *testing.T, path string, slots int) *flight.Recorder {
	t.Helper()
	r, err := flight.Create(path, slots)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() }) // it may be closed already
	return r
}

func read(t *testing.T, path string) flight.Record {
	t.Helper()
	rec, err := flight.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func BenchmarkEnterAndLeave(b *testing.B) {
	r, err := flight.Create(filepath.Join(b.TempDir(), "record"), 64)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	d := delivery(1)
	b.ReportAllocs()
	for b.Loop() {
		r.Leave(r.Enter(d))
	}
}
