package cli

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/posthorn/posthorn/internal/config"
)

// A whole is the value of a flag that is a whole number from a least one on. Where a list
// is to be bounded, 0 is refused, and not taken for "no bound".
type whole[N int | int64] struct {
	value *N
	least N
}

// String is the number.
func (w whole[N]) String() string {
	if w.value == nil {
		return ""
	}
	return strconv.FormatInt(int64(*w.value), 10)
}

// Set takes a number.
func (w whole[N]) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < int64(w.least) || int64(N(n)) != n {
		return fmt.Errorf("give a whole number, %d or more", w.least)
	}
	*w.value = N(n)
	return nil
}

// Type is shown in the help.
func (whole[N]) Type() string { return "number" }

// countFlag is a flag for a number of things, of which there is at least one.
func countFlag[N int | int64](fs *pflag.FlagSet, p *N, name, usage string) {
	fs.Var(whole[N]{p, 1}, name, usage)
}

// pastFlag is the flag for the next page of a list.
func pastFlag(fs *pflag.FlagSet, p *int64, usage string) {
	fs.Var(whole[int64]{p, 0}, "past", usage)
}

// A pace is the value of a flag that is so many a second.
type pace struct{ value *float64 }

// String is the number.
func (p pace) String() string {
	if p.value == nil {
		return ""
	}
	return strconv.FormatFloat(*p.value, 'g', -1, 64)
}

// Set takes a number above 0.
func (p pace) Set(s string) error {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n > 0) || math.IsInf(n, 0) {
		return errors.New("give a number above 0, like 50 or 0.5")
	}
	*p.value = n
	return nil
}

// Type is shown in the help.
func (pace) Type() string { return "number" }

// flagFault words what the parser of flags did not understand.
func flagFault(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		empty   *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
		syntax  *pflag.InvalidSyntaxError
	)
	help := cmd.CommandPath() + " --help"
	switch {
	case errors.As(err, &unknown):
		name := dashed(unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames())
		try := help
		if near := config.Suggest(strings.TrimLeft(name, "-"), flagNames(cmd)); near != "" && len(name) > len("-x") {
			try = "did you mean `--" + near + "`?"
		}
		return usage(cmd.CommandPath()+" has no flag "+name, try)
	case errors.As(err, &empty):
		value, _ := pflag.UnquoteUsage(empty.GetFlag())
		return usage(dashed(empty.GetSpecifiedName(), empty.GetSpecifiedShortnames())+" is given no value",
			"--"+empty.GetFlag().Name+" "+strings.ToUpper(value))
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return usage(fmt.Sprintf("--%s %q: %s", f.Name, invalid.GetValue(), wanted(f, invalid)), help)
	case errors.As(err, &syntax):
		return usage(syntax.GetSpecifiedFlag()+" is no flag", help)
	}
	return usageFault(cmd, err)
}

// wanted says what a flag takes. What the parser itself makes of numbers and the like is
// worded for programmers.
func wanted(f *pflag.Flag, invalid *pflag.InvalidValueError) string {
	takes, ours := map[string]string{
		"bool": "give true or false", "int": "give a whole number", "uint64": "give a whole number, 0 or more",
		"float64": "give a number", "duration": "give a length of time, like 30s or 5m",
		"count": "give a whole number",
	}[f.Value.Type()]
	if ours {
		return takes
	}
	return invalid.Unwrap().Error()
}

// dashed is a flag as it was written.
func dashed(name, short string) string {
	if short != "" {
		return "-" + string([]rune(name)[:1])
	}
	return "--" + name
}

// flagNames lists the flags that a command takes.
func flagNames(cmd *cobra.Command) (names []string) {
	add := func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	}
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return names
}

// checkArguments makes a command and all below it say in our words how many arguments
// they take: their usage line tells it.
func checkArguments(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) == nil {
				return nil
			}
			return argumentFault(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		checkArguments(sub)
	}
}

// argumentFault is for too many arguments or too few.
func argumentFault(cmd *cobra.Command, args []string) error {
	_, takes, _ := strings.Cut(cmd.Use, " ")
	if takes == "" {
		takes = "no arguments"
	}
	given := "none was given"
	if len(args) > 0 {
		given = fmt.Sprintf("%s given: %s", are(len(args)), strings.Join(args, " "))
	}
	try := strings.TrimSpace(cmd.CommandPath() + " " + takes)
	if takes == "no arguments" {
		try = cmd.CommandPath() + " --help"
		if i := slices.IndexFunc(args, func(a string) bool { return config.Suggest(a, flagNames(cmd)) != "" }); i >= 0 {
			try = "did you mean `--" + config.Suggest(args[i], flagNames(cmd)) + "`?"
		}
	}
	return usage(fmt.Sprintf("%s takes %s, and %s", cmd.CommandPath(), takes, given), try)
}

// are is how many arguments there are.
func are(n int) string {
	if n == 1 {
		return "1 was"
	}
	return strconv.Itoa(n) + " were"
}
