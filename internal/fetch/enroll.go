package fetch

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/popfetchd/popfetchd/internal/config"
)

// enroll makes the account known to the ledger. isNew says that the ledger never saw a run of it end, perhaps since the one
// before was lost: then the mailboxes of all days may hold mail of ours.
func (r *run) enroll() (isNew bool, err error) {
	if err := r.Ledger.Enroll(r.account.Name, r.account.Mailbox().At(r.Now())); err != nil {
		return false, err
	}
	last, err := r.Ledger.LastAttempt(r.account.Name)
	return last.IsZero(), err
}

// lookAround finds what the mailboxes of an account hold that is new to the ledger. A Maildir's files are known by their
// names once the server has listed its mail, an mbox's messages, and what was filed in subfolders, by their content.
func (r *run) lookAround(ctx context.Context) error {
	if r.account.Mbox != "" {
		strays, err := r.findStrays(ctx, nil, nil)
		if err != nil || len(strays) == 0 {
			return err
		}
		r.log.Info("the mbox holds mail already: what is fetched is held against it", "messages", len(strays))
		return r.Ledger.SetStrays(r.account.Name, strays)
	}
	paths, err := filepath.Glob(everyDay(r.account.Maildir))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := r.Ledger.Unsettle(r.account.Name, path); err != nil {
			return err
		}
	}
	return r.lookAtFiled(ctx, paths)
}

// lookAtFiled finds what was filed in subfolders of the Maildirs at paths: what is fetched is held against it.
func (r *run) lookAtFiled(ctx context.Context, paths []string) error {
	all, err := withSubfolders(paths)
	if err != nil {
		return err
	}
	filed, err := r.findAmong(ctx, slices.DeleteFunc(all, func(path string) bool { return slices.Contains(paths, path) }), paths, nil)
	if err != nil || len(filed) == 0 {
		return err
	}
	return r.Ledger.SetStrays(r.account.Name, filed)
}

// everyDay is the pattern, for filepath.Glob, of the paths that a template gives on any day.
func everyDay(path config.PathTemplate) string {
	const digit = "[0-9]"
	return strings.NewReplacer(
		"%%", "%", "%Y", strings.Repeat(digit, 4), "%m", digit+digit, "%d", digit+digit,
		`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`,
	).Replace(string(path))
}
