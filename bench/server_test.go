package main

import (
	"errors"
	"strings"
	"testing"
)

func TestAServerThatIsMissingIsAnErrorAndNotSkipped(t *testing.T) {
	k := &keeper{}
	err := k.run(func() {
		k.Skip(errors.New("it is not installed; run: scripts/setup.sh"))
		t.Error("Skip returned")
	})
	if err == nil || !strings.Contains(err.Error(), "run: scripts/setup.sh") {
		t.Errorf("error is %v, want the command that installs the server", err)
	}
}

func TestAServerIsEndedByWhatWasLeftForTheEnd(t *testing.T) {
	k, order := &keeper{}, ""
	err := k.run(func() {
		k.Cleanup(func() { order += "first" })
		k.Cleanup(func() { order += "last "; k.Error("it lives on") })
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.end(); err == nil || order != "last first" {
		t.Errorf("end did %q with error %v, want the last first and the error", order, err)
	}
}
