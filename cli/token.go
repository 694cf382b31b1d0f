package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/listen"
)

// tokenOf is the token of a listener, whose keys of the configuration begin with a word;
// empty if it has none. One that stands in the configuration was checked when that was read.
func tokenOf(cfg *config.Config, word string, l config.Listener) (string, error) {
	if l.TokenFile == "" {
		return l.Token.Reveal(), nil
	}
	token, err := readToken(l.TokenFile)
	if err == nil {
		err = listen.CheckToken(token)
	}
	if err == nil {
		return token, nil
	}
	at, _ := cfg.Setting(word + ".token_file")
	return "", &fault{
		Code: "E-" + strings.ToUpper(word) + "-TOKEN", Title: "no usable token for " + word, Exit: exitConfig,
		What: err.Error(), Where: at.Origin,
		Try: fmt.Sprintf("make one of %d letters or more: openssl rand -hex 32", listen.MinToken),
	}
}

// maxTokenFile bounds the file of a token.
const maxTokenFile = 4 << 10

func readToken(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err == nil && len(text) > maxTokenFile {
		err = errors.New("the file is too large for a token")
	}
	return strings.TrimSpace(string(text)), err
}
