package fingerprint

import (
	"strings"
)

// Frame is the function in which a panic arose: the first on the stack below the
// panic that is neither of the standard library nor Posthorn's. Lines and
// addresses change with each build, and are left out. It is empty if there is none.
func Frame(stack string) string {
	if _, below, found := strings.Cut(stack, "\npanic("); found {
		stack = below
		if i := strings.LastIndex(stack, "\npanic("); i >= 0 { // a panic that was raised again
			stack = stack[i+1:]
		}
	}
	for line := range strings.Lines(stack) {
		name := function(strings.TrimSuffix(line, "\n"))
		if name != "" && !foreign(name) {
			return name
		}
	}
	return ""
}

// function is the name in a line of a stack that calls one, without its
// arguments and type parameters.
func function(line string) string {
	if line == "" || line[0] == '\t' || strings.HasPrefix(line, "goroutine ") ||
		strings.HasPrefix(line, "created by ") || strings.HasPrefix(line, "panic(") {
		return ""
	}
	end := strings.LastIndexByte(line, '(')
	if end <= 0 {
		return ""
	}
	return strings.NewReplacer("[...]", "").Replace(line[:end])
}

// foreign reports whether a function is of the standard library or Posthorn's.
func foreign(name string) bool {
	if strings.HasPrefix(name, ours+".") || strings.HasPrefix(name, ours+"/") {
		return !strings.HasPrefix(name, ours+"/examples/")
	}
	pkg, _, _ := strings.Cut(name, ".")
	root, _, _ := strings.Cut(pkg, "/")
	return strings.Contains(standard, " "+root+" ")
}

// standard are the first parts of the standard library's import paths.
const standard = " archive bufio bytes cmp compress container context crypto database debug embed encoding errors" +
	" expvar flag fmt go hash html image index internal io iter log maps math mime net os path plugin reflect regexp" +
	" runtime slices sort strconv strings structs sync syscall testing text time unicode unique unsafe weak "
