package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisKind is Redis with what it is set to if nobody says anything. It may
// lose what it has accepted.
func redisKind() kind {
	return kind{
		name: "redis", title: "Redis, default settings", optional: true,
		notes:   "Not durable: what was accepted in the last seconds or minutes is lost with the machine",
		launch:  func(dir string) (host, error) { return startRedis(dir) },
		examine: examineRedis(false),
	}
}

// redisAOFKind is Redis as durable as the other stores are.
func redisAOFKind() kind {
	return kind{
		name: "redis-aof", title: "Redis, append-only file, fsync always", optional: true,
		notes: "Durable on return, as the other stores are",
		launch: func(dir string) (host, error) {
			return startRedis(dir, "--appendonly", "yes", "--appendfsync", "always")
		},
		examine: examineRedis(true),
	}
}

// errNotInstalled leaves a store out, with the command that would help.
var errNotInstalled = errors.New("not installed")

// underShell runs a program until standard input ends: then the server ends
// with this process, however that dies.
const underShell = `"$@" >server.log 2>&1 </dev/null & cat >/dev/null; kill $!; wait $!`

// redisPatience bounds the start of a server.
const redisPatience = 10 * time.Second

// A redisServer is a private server on a free port of loopback.
type redisServer struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	client *redis.Client
}

func startRedis(dir string, options ...string) (host, error) {
	program, err := findRedis()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := []string{"-c", underShell, "sh", program, "--bind", "127.0.0.1", "--port", port, "--dir", dir}
	args = append(args, options...)
	cmd := exec.CommandContext(context.Background(), "sh", args...) //nolint:gosec // the installed server
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C reaches this process alone
	s := &redisServer{cmd: cmd, client: redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port})}
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := s.answers(); err != nil {
		said, _ := os.ReadFile(dir + "/server.log")
		return nil, errors.Join(fmt.Errorf("start %s: %w: %s", program, err, bytes.TrimSpace(said)), s.close())
	}
	return s, nil
}

// findRedis looks for the server, or its successor of the same protocol.
func findRedis() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("redis-server is %w; run: scripts/setup.sh redis-server", errNotInstalled)
}

// freePort is one that nobody listens to at the moment.
func freePort() (string, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), l.Close()
}

// answers waits until the server does.
func (s *redisServer) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), redisPatience)
	defer cancel()
	for {
		err := s.client.Ping(ctx).Err()
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// fresh empties the server: its runs follow each other.
func (s *redisServer) fresh(ctx context.Context) (string, error) {
	return "redis://" + s.client.Options().Addr, s.client.FlushAll(ctx).Err()
}

func (s *redisServer) drop(ctx context.Context, _ string) error { return s.client.FlushAll(ctx).Err() }

func (s *redisServer) close() error {
	err := errors.Join(s.client.Close(), s.stdin.Close())
	var exit *exec.ExitError
	if ended := s.cmd.Wait(); !errors.As(ended, &exit) { // the shell tells how the server ended
		err = errors.Join(err, ended)
	}
	return err
}

// examineRedis says how the server is set.
func examineRedis(durable bool) func(context.Context, string, *sql.DB) (string, error) {
	return func(ctx context.Context, address string, _ *sql.DB) (string, error) {
		client := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(address, "redis://")})
		defer func() { _ = client.Close() }() // nothing is kept in it
		info, err := client.Info(ctx, "server").Result()
		if err != nil {
			return "", err
		}
		set := map[string]string{}
		said := lineOf(info, "redis_version:")
		for _, name := range []string{"appendonly", "appendfsync", "save"} {
			values, err := client.ConfigGet(ctx, name).Result()
			if err != nil {
				return "", err
			}
			set[name] = values[name]
			said += fmt.Sprintf(", `%s %s`", name, set[name])
		}
		if durable && (set["appendonly"] != "yes" || set["appendfsync"] != "always") {
			return "", fmt.Errorf("redis %s: want appendonly yes, appendfsync always", said)
		}
		return said, nil
	}
}
