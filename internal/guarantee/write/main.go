// Command write adds runs to the record, from the files that are named, and writes the page
// of guarantees again.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/posthorn/posthorn/internal/guarantee"
	"github.com/posthorn/posthorn/internal/runs"
)

func main() {
	if err := write("docs", os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// write adds the files to the record in dir, and writes the page there.
func write(dir string, files []string) error {
	record := filepath.Join(dir, "guarantees.json")
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // whoever calls names it
		if err != nil {
			return err
		}
		rs, err := guarantee.Decode(text)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := runs.Add(record, rs...); err != nil {
			return err
		}
	}
	rs, err := runs.Read(record)
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := guarantee.Write(&page, rs); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "guarantees.md"), page.Bytes(), 0o644) //nolint:gosec // for everybody
}
