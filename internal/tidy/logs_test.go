package tidy_test

import "testing"

func TestALogKeyThatIsNotInTheListIsNamed(t *testing.T) {
	t.Parallel()
	wantProblems(t, files{"worker/a.go": head + `import "log/slog"

func say(log *slog.Logger, id string, err error) {
	log.Info("good", "worker", id, "error", err)
	log.With("message_id", id).Warn("good")
	log.Info("bad", "workerId", id, "worker", id)
	log.Info("bad", "worker", id, "thing", id)
	log.With("thing", id).Warn("bad")
	log.Info("bad: "+id, "worker", id)
	args := []any{"worker", id, "other_thing", id}
	args = append(args, "third_thing", id)
	log.Error("good", append(args, "fourth_thing", err)...)
}
`},
		`worker/a.go:10: log key "thing" is not in the list of internal/tidy/logs.go`,
		`worker/a.go:11: log key "thing" is not in the list of internal/tidy/logs.go`,
		`worker/a.go:12: a log line has a constant message; what differs is the value of a key`,
		`worker/a.go:13: log key "other_thing" is not in the list of internal/tidy/logs.go`,
		`worker/a.go:14: log key "third_thing" is not in the list of internal/tidy/logs.go`,
		`worker/a.go:15: log key "fourth_thing" is not in the list of internal/tidy/logs.go`,
	)
}
