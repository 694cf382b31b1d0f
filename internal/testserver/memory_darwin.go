package testserver

// memory is a directory in memory that has room; there is none.
func memory() string { return "" }
