package fingerprint

import (
	"regexp"
	"strings"
)

// maxNormal bounds a normal text in bytes. What distinguishes a fault stands at
// its beginning.
const maxNormal = 500

// maxRead bounds what is read of a text, in bytes.
const maxRead = 4 << 10

// What differs from message to message, in the order in which it is replaced.
var (
	address = regexp.MustCompile(
		`\b([a-z][a-z0-9+.-]*)://(?:[^\s/@"']*@)?([^\s/?#"':]+)(?::\d+)?([^\s?#"')]*)(?:[?#][^\s"')]*)?`)
	mail   = regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+`)
	uuid   = regexp.MustCompile(`\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b`)
	moment = regexp.MustCompile(`\b\d{4}[-/]\d\d[-/]\d\d` +
		`(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?(?:Z|[+-]\d\d:?\d\d|UTC))*)?(?: m=\S+)?`)
	ip4 = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b`)
	ip6 = regexp.MustCompile(`\[[0-9a-fA-F]*:[0-9a-fA-F:.]*(?:%\w+)?\](?::\d+)?`)
	hex = regexp.MustCompile(`\b0[xX][0-9a-fA-F]+\b`)
	// MySQL does not escape the value that it shows here.
	entry = regexp.MustCompile(`(Duplicate entry )'.*'( for key )`)
	quote = regexp.MustCompile(`(?i)(?:(\b(?:constraint|relation|table|column|field|for key|index|sequence|schema|` +
		`near|in) )|(^|[\s=(,:;\[{>]))` +
		`("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|` + "`[^`]*`)")
	// What a name in quotes looks like, and the first word of a statement.
	named    = regexp.MustCompile(`^[A-Za-z_][\w.$-]*(?: [a-z]+)?$`)
	firstOne = regexp.MustCompile(`^\w+`)
	filePath = regexp.MustCompile(`(^|[\s=(,:\[])((?:/[\w.@%+~-]+){2,}/?)`)
	code     = regexp.MustCompile(`(?i)\b((?:status(?: code)?|code|errno|error|sqlstate|http|http/[\d.]+|exit status|` +
		`signal)[ :=#(]{1,2})(\d{1,5}|[0-9A-Z]{5})\b`)
	longWord = regexp.MustCompile(`\b[A-Za-z0-9_-]{8,}\b`)
	number   = regexp.MustCompile(
		`[-+]?\d+(?:[.,:]\d+)*(?:(?:ns|us|µs|ms|s|m|h)(?:\d[\d.]*(?:ns|us|µs|ms|s|m|h))*\b)?`)
	articleCode = regexp.MustCompile(`\b[A-Z]{1,4}-\d[\dA-Z-]*\b`)
	listed      = regexp.MustCompile(`\([?#](?:, ?[?#])*\)(?:, ?\([?#](?:, ?[?#])*\))*`)
	numbers     = regexp.MustCompile(`#(?:,? #)+`)
	digits      = regexp.MustCompile(`\d+`)
)

// Normal is the text of an error without what differs from message to message:
// numbers, ids, addresses, times, quoted values and the variable parts of paths. What
// names a part of the program stays: tables, columns, constraints, fields, codes.
func Normal(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxRead)], "?")
	text = each(address, text, func(g []string) string {
		return g[1] + "://" + digits.ReplaceAllString(g[2], "#") + staticPath(g[3])
	})
	text = each(filePath, text, func(g []string) string { return g[1] + staticPath(g[2]) })
	text = mail.ReplaceAllString(text, "<mail>")
	for _, find := range []*regexp.Regexp{uuid, moment, ip4, ip6, hex} {
		text = find.ReplaceAllString(text, "#")
	}
	text = entry.ReplaceAllString(text, "$1?$2")
	text = each(quote, text, func(g []string) string { return g[1] + g[2] + quoted(g[1], g[3][1:len(g[3])-1]) })
	text = each(code, text, func(g []string) string { return g[1] + spelled(g[2]) })
	text = articleCode.ReplaceAllString(text, "#")
	text = longWord.ReplaceAllStringFunc(text, name)
	text = number.ReplaceAllString(text, "#")
	text = listed.ReplaceAllString(text, "(?)")
	text = numbers.ReplaceAllString(text, "#")
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[:min(len(text), maxNormal)], "")
}

// each replaces what a pattern finds by what a function makes of its groups.
func each(find *regexp.Regexp, text string, with func(groups []string) string) string {
	return find.ReplaceAllStringFunc(text, func(s string) string { return with(find.FindStringSubmatch(s)) })
}

// staticPath keeps the parts of a path that have no digit; the version of an
// interface (v2) has one that stays.
func staticPath(s string) string {
	parts := strings.Split(s, "/")
	for i, p := range parts {
		switch {
		case len(p) == 2 && p[0] == 'v':
			parts[i] = spelled(p)
		case strings.ContainsAny(p, "0123456789"):
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

// quoted keeps what is quoted where it names a part of the program, as the word before
// it says, and of a statement the word that the server did not expect.
func quoted(before, content string) string {
	switch {
	case strings.HasSuffix(strings.ToLower(before), "near "):
		return "'" + firstOne.FindString(content) + "'"
	case before != "" && named.MatchString(content):
		return "'" + content + "'"
	}
	return "?"
}

// spelled writes digits in a form that no pattern takes for digits.
func spelled(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '₀' + r - '0'
		}
		return r
	}, s)
}

// name replaces a long word that is more like an id than like a name.
func name(s string) string {
	if len(digits.FindAllString(s, 2)) == 2 {
		return "#"
	}
	return s
}
