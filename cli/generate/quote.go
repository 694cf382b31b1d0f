package generate

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"

	"github.com/posthorn/posthorn/internal/printable"
)

//go:embed templates
var templates embed.FS

// The quotes of the four kinds of files. A word has passed Plan.check: it has
// no quote, backslash, dollar or control character.

// systemdWords writes a command line as ExecStart= reads it: percent signs are
// doubled, and words with white space quoted (systemd.service(5), "Command lines").
func systemdWords(words []string) string {
	return joinWords(words, func(w string) string { return strings.ReplaceAll(w, "%", "%%") }, `"`)
}

// systemdPath writes a path as a setting that takes one path reads it: as it
// is, but for specifiers (systemd.unit(5), "Specifiers").
func systemdPath(path string) string { return strings.ReplaceAll(path, "%", "%%") }

// supervisorWords writes a command line as Supervisor's command= reads it: words
// are split as a shell's ("Configuration File"). They have no percent sign.
func supervisorWords(words []string) string {
	return joinWords(words, strings.Clone, "'")
}

// shellWords writes a command line for sh.
func shellWords(words []string) string {
	return joinWords(words, strings.Clone, "'")
}

// cronText writes what cron passes to the shell: it takes a percent sign that
// no backslash precedes for the end of the line (crontab(5)).
func cronText(line string) string { return strings.ReplaceAll(line, "%", `\%`) }

// joinWords quotes the words that need it. Letters that no reader gives a
// meaning stand as they are.
func joinWords(words []string, escape func(string) string, quote string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = escape(w)
		if strings.ContainsFunc(w, special) || w == "" {
			out[i] = quote + out[i] + quote
		}
	}
	return strings.Join(out, " ")
}

func special(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && !strings.ContainsRune("_-./:=,+%@", r)
}

// yamlText writes a text as YAML reads it: JSON's strings are YAML's.
func yamlText(text string) (string, error) {
	b, err := json.Marshal(text)
	return string(printable.JSON(b)), err
}

// yamlBlock writes a text of several lines below a key, where it can be read.
func yamlBlock(indent int, text string) (string, error) {
	lines := strings.TrimSuffix(text, "\n")
	odd := lines == text || strings.HasSuffix(lines, "\n") || strings.HasPrefix(text, "\n")
	if odd || printable.Block(lines) != lines {
		return yamlText(text)
	}
	pad := strings.Repeat(" ", indent)
	var b strings.Builder
	b.WriteString("|2\n")
	for line := range strings.Lines(text) {
		if line != "\n" {
			b.WriteString(pad)
		}
		b.WriteString(line)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// render fills a template.
func render(name string, data any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{
		"systemdWords": systemdWords, "systemdPath": systemdPath,
		"supervisorWords": supervisorWords,
		"shellWords":      shellWords, "cronText": cronText,
		"yamlText": yamlText, "yamlBlock": yamlBlock,
	}).ParseFS(templates, "templates/"+name)
	if err != nil {
		return "", fmt.Errorf("read template: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("fill template: %w", err)
	}
	return b.String(), nil
}
