package fetch

import (
	"path/filepath"
	"strings"

	"github.com/popfetchd/popfetchd/internal/config"
)

// enroll makes the account known to the ledger. To a ledger that never saw a run of it end, perhaps since the one before
// was lost, the Maildirs of all days count as unsettled.
func (r *run) enroll() error {
	name := r.account.Name
	if err := r.Ledger.Enroll(name, r.account.Mailbox().At(r.Now())); err != nil {
		return err
	}
	last, err := r.Ledger.LastAttempt(name)
	if err != nil || !last.IsZero() || r.account.Maildir == "" {
		return err
	}
	paths, err := filepath.Glob(everyDay(r.account.Maildir))
	for _, path := range paths {
		if err := r.Ledger.Unsettle(name, path); err != nil {
			return err
		}
	}
	return err
}

// everyDay is the pattern, for filepath.Glob, of the paths that a template gives on any day.
func everyDay(path config.PathTemplate) string {
	const digit = "[0-9]"
	return strings.NewReplacer(
		"%%", "%", "%Y", strings.Repeat(digit, 4), "%m", digit+digit, "%d", digit+digit,
		`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`,
	).Replace(string(path))
}
