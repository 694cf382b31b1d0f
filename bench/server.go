package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/internal/testserver"
)

// connections is how many a server lets in: more than any system opens, from
// two processes.
const connections = "300"

// A server is the host of a kind of database that a server keeps. It is private
// to this run, listens on loopback, and ends with this process.
type server struct {
	*testserver.Server
	keeper    *keeper
	names     numbered
	addressOf func(s *testserver.Server, database string) string
	dropping  string // with %s for the name
}

// startServer starts a server on a directory of its own.
func startServer(
	dir string, start func(testserver.Test, testserver.Options) *testserver.Server, settings map[string]string,
) (*server, error) {
	// The server runs as another user if this process is root's; that one
	// passes through the directory to its own data.
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // see above
		return nil, err
	}
	s := &server{keeper: &keeper{}, dropping: "drop database %s"}
	err := s.keeper.run(func() {
		s.Server = start(s.keeper, testserver.Options{Dir: dir, Settings: settings})
	})
	return s, err
}

func (s *server) fresh(context.Context) (string, error) {
	name := s.names.next()
	return s.addressOf(s.Server, name), s.Exec("create database " + name)
}

func (s *server) drop(_ context.Context, address string) error {
	_, name, _ := strings.Cut(address, s.Addr()+"/")
	name, _, _ = strings.Cut(name, "?")
	return s.Exec(fmt.Sprintf(s.dropping, name))
}

func (s *server) close() error { return s.keeper.end() }

// A keeper stands in for the test to which a server belongs. What would fail
// the test is an error here, and so is what would skip it.
type keeper struct {
	testing.TB // for methods that are not called

	mu       sync.Mutex
	err      error
	cleanups []func()
}

// run calls fn, which may call Fatal.
func (k *keeper) run(fn func()) error {
	var wg sync.WaitGroup
	wg.Go(fn)
	wg.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// end does what was left for the end of the test.
func (k *keeper) end() error {
	return k.run(func() {
		for i := range k.cleanups {
			k.cleanups[len(k.cleanups)-1-i]()
		}
	})
}

func (k *keeper) Helper()             {}
func (k *keeper) Failed() bool        { return false }
func (k *keeper) Cleanup(fn func())   { k.cleanups = append(k.cleanups, fn) }
func (k *keeper) Skip(args ...any)    { k.Fatal(args...) }
func (k *keeper) Fatal(args ...any)   { k.Error(args...); runtime.Goexit() }
func (k *keeper) Logf(string, ...any) {}

func (k *keeper) Error(args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = errors.Join(k.err, errors.New(fmt.Sprint(args...)))
}
