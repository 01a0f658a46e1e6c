package alert

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
	"github.com/popfetchd/popfetchd/internal/gmail"
)

// settingsEvery is how often Gmail is asked for its POP settings: people change them once in years.
const settingsEvery = 24 * time.Hour

// readSettings holds Gmail's own settings against the file's, for accounts whose token allows that and that are due.
func (a *Alerter) readSettings(ctx context.Context) {
	for _, account := range a.settingsDue(ctx) {
		text, err := compareSettings(ctx, a.stateDir, account)
		if err != nil {
			a.log.Debug("Gmail's settings could not be read", "account", account.Name, "error", err)
			continue
		}
		a.find(finding{account.Name, Settings, text})
	}
}

// settingsDue returns the accounts whose settings are to be read now, and notes that they have been: one that cannot be read
// is not asked for again before its time either.
func (a *Alerter) settingsDue(ctx context.Context) []config.Account {
	a.mu.Lock()
	accounts, now := a.accounts, a.now()
	a.mu.Unlock()
	if !a.Any() {
		return nil
	}
	var readable []config.Account
	for _, account := range accounts {
		if account.Preset().Windowed && account.OAuth != nil && account.OAuth.APIURL != "" {
			readable = append(readable, account)
		}
	}
	if len(readable) == 0 {
		return nil
	}
	a.work.Lock()
	defer a.work.Unlock()
	b, err := openBook(ctx, a.stateDir, nil, a.kept)
	if err != nil {
		return nil
	}
	defer b.close()
	if b.fresh { // the first look has to find it so
		return nil
	}
	var due []config.Account
	for _, account := range readable {
		if last := b.Checked[account.Name]; now.Sub(last) >= settingsEvery || now.Before(last) {
			b.Checked[account.Name] = now
			due = append(due, account)
		}
	}
	if b.save() != nil {
		return nil
	}
	return due
}

// compareSettings says in a few words how Gmail's settings differ from the file's, "" when they do not.
func compareSettings(ctx context.Context, stateDir string, account config.Account) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, settingsFor)
	defer cancel()
	source, err := fetch.Source(stateDir, account)
	if err != nil {
		return "", err
	}
	token, err := source.Token(ctx, 0)
	if err != nil {
		return "", err
	}
	at, err := gmail.API{URL: account.OAuth.APIURL, Token: token.Access}.Settings(ctx)
	if errors.Is(err, gmail.ErrTokenRefused) {
		if token, err = source.Renew(ctx, token.Access); err == nil {
			at, err = gmail.API{URL: account.OAuth.APIURL, Token: token.Access}.Settings(ctx)
		}
	}
	if err != nil {
		return "", err
	}
	text := ""
	for _, d := range gmail.Compare(account, at) {
		text += fmt.Sprintf("the file says %s: %s, Gmail is set to %q. %s ", d.What, d.InFile, d.AtGmail, d.Means)
	}
	return text, nil
}
