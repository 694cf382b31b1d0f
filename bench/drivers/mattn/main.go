// Command mattn measures the SQLite driver github.com/mattn/go-sqlite3.
package main

import (
	"fmt"
	"os"

	_ "github.com/mattn/go-sqlite3" // the driver

	"github.com/posthorn/posthorn/bench/drivers/internal/measure"
)

func main() {
	if err := measure.Driver("mattn", "sqlite3", "file:%s?_journal_mode=WAL&_synchronous=FULL&_txlock=immediate"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
