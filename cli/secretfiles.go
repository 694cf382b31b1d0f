package cli

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/store"
)

// othersRead are the mode bits by which any user of the host may read a file.
const othersRead = 0o004

// judgeSecretFiles looks at each file of the configuration that holds a secret: whether this
// user can read it, and whether every other user can, too.
func judgeSecretFiles(cfg *config.Config) (found []diagnosis) {
	for _, v := range cfg.Settings() {
		if !strings.HasSuffix(v.Key, "_file") || v.Value == "" {
			continue
		}
		d := diagnosis{Check: checkSecrets, Level: store.LevelOK, Evidence: v.Key + ": " + v.Value}
		f, err := os.Open(v.Value)
		if err != nil {
			d.Level, d.Evidence = store.LevelError, v.Key+": "+err.Error()
			d.Fix = fmt.Sprintf("make the file, and let the user who runs this read it (%s)", v.Origin)
			found = append(found, d)
			continue
		}
		info, err := f.Stat()
		_ = f.Close() // nothing was written
		switch {
		case err != nil:
			d.Level, d.Evidence = store.LevelUnknown, v.Key+": "+err.Error()
		case info.Mode().Perm()&othersRead != 0:
			d.Level = store.LevelWarning
			d.Evidence = fmt.Sprintf("%s: every user of this host can read %s (%s)", v.Key, v.Value, info.Mode().Perm())
			d.Fix = "chmod 600 " + v.Value
		}
		found = append(found, d)
	}
	return found
}

// warnOfSecretFiles logs what is doubtful about the files of secrets, for those who run
// for long and are asked by nobody.
func warnOfSecretFiles(log *slog.Logger, cfg *config.Config) {
	for _, d := range judgeSecretFiles(cfg) {
		if d.Level != store.LevelOK {
			log.Warn("a file of a secret", "finding", d.Evidence, "try", d.Fix)
		}
	}
}
