# `make` lists the targets. Everything needs Go; the tests need a C compiler,
# too, for the race detector: `make test` installs it where it can.

MAKEFLAGS += --no-print-directory

LINTER    := .tools/golangci-lint
TIMEOUT   ?= 15m
TESTFLAGS ?=
RUNFLAGS  ?=

# SQLite comes as C that was translated into Go. Watching each of its reads and writes finds no
# race of ours, as in a driver of C, and was most of what the tests of SQLite cost (ADR 43).
RACE := -race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc=-race=false \
	-gcflags=modernc.org/memory=-race=false

# A program with the race detector waits a second at its end for what other goroutines
# may still do wrong. The tests start hundreds of such programs.
export GORACE ?= atexit_sleep_ms=20

.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

setup: ## Install what the tests need: a C compiler and database servers
	@scripts/setup.sh cc
	@scripts/setup.sh prometheus prometheus-alertmanager || [ "$$CI" != true ]
	@scripts/setup.sh postgresql mariadb pgbouncer faketime || [ "$$CI" != true ] # without them, tests are skipped
	@scripts/setup.sh supervisor systemd cron strace curl || [ "$$CI" != true ] # the same

test: setup ## Run all tests with the race detector
	@CGO_ENABLED=1 go test $(RACE) -vet=off -shuffle=on -p 3 -parallel 4 -timeout $(TIMEOUT) $(TESTFLAGS) ./... # make vet is for all of it; of two packages at a time a fifth was waiting

canaries: setup ## Run all tests, and look for their secrets and for control characters in all that they show
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	CGO_ENABLED=1 POSTHORN_TAP=$$dir go test -tags posthorn_tap $(RACE) -shuffle=on -timeout $(TIMEOUT) $(TESTFLAGS) ./... && \
	go run ./internal/witness/judge "$$dir"

schema: ## Check generated manifests against Kubernetes' own types (a module of its own)
	@cd schema && go vet . && go test .

tidy: ## Hold the code to its conventions (internal/tidy)
	@go test ./internal/tidy

lint: $(LINTER) ## Run the linters of .golangci.yml
	@$(LINTER) run ./...

vet: ## Run go vet
	@go vet ./...

fmt: $(LINTER) ## Format the code
	@$(LINTER) fmt ./...

generate: ## Write the generated files again
	@go generate ./...

mod: ## Tidy go.mod
	@go mod tidy

build: ## Build bin/posthorn
	@go build -trimpath -o bin/ ./cmd/posthorn

demo: ## Run the main job on real-shaped mail, with a worker killed in the middle
	@go run ./examples/unsubscribe demo

bench: servers ## Measure Posthorn beside its peers, once; about 5 minutes
	@cd bench && go run .

bench-full: servers ## The same in rounds, with backlogs of a million; writes docs/performance.md
	@mkdir -p bin
	@cd bench && go run . -full -record ../bin/performance.jsonl -page ../docs

bench-page: ## Write docs/performance.md again from what bench-full recorded
	@cd bench && go run . -from ../bin/performance.jsonl -page ../docs >/dev/null

profile: ## Profile the hot paths: CPU, allocations and mutexes, in bin/profile
	@scripts/profile.sh

servers:
	@scripts/setup.sh postgresql mariadb
	@scripts/setup.sh redis-server || true # without it, asynq is left out

torture: ## Torture each of the STORES (sqlite postgres mariadb) for MINUTES (10)
	@scripts/setup.sh postgresql mariadb
	@go build -tags posthorn_failpoints -o bin/posthorn-torture ./cmd/posthorn
	@for store in $(or $(STORES),sqlite postgres mariadb); do \
		case $$store in sqlite) place="--store sqlite:bin/torture.db" ;; *) place="--private $$store" ;; esac; \
		bin/posthorn-torture torture --minutes $(or $(MINUTES),10) $(TORTUREFLAGS) $$place || exit 1; done

mutants: ## Show that torture and the tests find each of 18 planted faults; about 20 minutes
	@scripts/setup.sh postgresql mariadb
	@go run ./internal/mutant/hunt

sim: ## Play SEEDS (10000) seeds of the simulator; SIMFLAGS="-seed 7 -v" shows one
	@go run ./internal/sim/play -seeds $(or $(SEEDS),10000) $(SIMFLAGS)

sim-mutants: ## Show that the simulator finds each of 17 planted faults within 1000 seeds
	@go run ./internal/mutant/hunt -sim

kills: ## Kill 110 workers among 20,000 messages, on each store; about 5 minutes
	@scripts/setup.sh cc postgresql mariadb
	@CGO_ENABLED=1 go test $(RACE) -count=1 -v ./internal/crashtest -run KilledWorkers -args -messages 20000 -kills 110 $(RUNFLAGS)

failpoints: ## Kill a process at each moment in which a message moves, on each store
	@scripts/setup.sh postgresql mariadb
	@go test -tags posthorn_failpoints -count=1 -parallel 8 ./internal/crashtest -run ADeathAtEachPoint -args $(RUNFLAGS)
	@go test -tags posthorn_failpoints -count=1 ./torture -run DieAtPoints

sweep: ## Cut a SQLite store off at each of its writes and syncs; about 5 minutes
	@scripts/setup.sh strace
	@go test -count=1 -timeout 20m -parallel 4 ./internal/sweeptest -run CutOff -args -all $(RUNFLAGS)

powercuts: ## Take the power away from each store CUTS (50) times, where file systems can be mounted
	@scripts/setup.sh postgresql mariadb
	@go test -count=1 -timeout 60m -v ./internal/powertest -args -cuts $(or $(CUTS),50) $(RUNFLAGS) | grep -v '^==='

guarantees: ## Write docs/guarantees.md again, with the runs in the files RUNS added to its record
	@go run ./internal/guarantee/write $(RUNS)

mutant-settle-last: ## Show that the tests find a settlement that comes after its effect
	@go test -count=1 -v -run 'Settlement|OrderOf' ./internal/safety

fuzz-short: ## Run each fuzz target for 3 seconds
	@scripts/fuzz.sh 3s

fuzz: ## Run each fuzz target for 10 minutes, LANES (6) side by side
	@scripts/fuzz.sh 10m $(or $(LANES),6)

cover: ## Show how much of the code the tests reach
	@mkdir -p bin
	@go test -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=bin/cover.out ./...
	@go tool cover -func=bin/cover.out | tail -n 1

ci: ## Run all that must be green before a change lands
	@.ci/run

# The linters are a module of their own, so that what they import stays out of
# the project's go.mod. The first build takes some minutes.
$(LINTER): tools/go.mod tools/go.sum
	@echo "building golangci-lint; the first time takes some minutes" >&2
	@go build -C tools -buildvcs=false -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: help setup test canaries schema tidy lint vet fmt generate mod build demo bench bench-full bench-page profile servers \
	torture mutants sim sim-mutants kills failpoints sweep powercuts guarantees mutant-settle-last fuzz fuzz-short cover ci
