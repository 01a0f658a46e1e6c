package config

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/popfetchd/popfetchd/internal/provider"
)

// warnings returns what is allowed but unwise in a file that has no mistakes;
// root is the file itself.
func (p *parser) warnings(root *section) []Problem {
	if len(p.problems) > 0 {
		return nil
	}
	var all []Problem
	for _, d := range p.drafts {
		warn := func(key, text string) {
			if text == "" || len(all) == maxProblems {
				return
			}
			line := cmp.Or(d.section.lines[key], d.section.line)
			if key == "schedule" && !d.section.given(key) {
				line = cmp.Or(root.lines[key], line)
			}
			all = append(all, Problem{p.name, line, join(d.section.path, key), oneLine(text)})
		}
		preset := d.account.Preset()
		warn("username", usernameWarning(preset, d.account.Username))
		warn("schedule", scheduleWarning(preset, d.account.Schedule))
		if secret := d.account.secret; secret != nil && secret.key == "password" {
			warn("password", passwordWarning(preset, *secret.text))
		}
		warn("oauth", clientWarning(d.account.OAuth))
		if d.section.given("alert_after") {
			warn("alert_after", patienceWarning(d.account))
		}
	}
	slices.SortStableFunc(all, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return all
}

// usernameWarning says when a user name is not what the provider's users log in
// with; "" when it is.
func usernameWarning(preset provider.Provider, username string) string {
	local, _, whole := strings.Cut(username, "@")
	switch {
	case preset.Username == provider.WholeAddress && !whole:
		return fmt.Sprintf("%s wants the whole address here, as in someone@%s", preset.Title, preset.Domains[0])
	case preset.Username == provider.LocalPart && whole:
		return fmt.Sprintf("%s wants what stands before the @ alone; write %s", preset.Title, quoted(local))
	}
	return ""
}

// clientWarning says when a client lacks the secret that its issuer wants; ""
// when it does not.
func clientWarning(o *OAuth) string {
	if o == nil || o.ClientSecretFile != "" {
		return ""
	}
	issuer, _ := provider.IssuerNamed(o.Issuer)
	if !issuer.ClientSecret || o.TokenURL != issuer.TokenURL {
		return ""
	}
	return fmt.Sprintf("%s gives a client for a desktop program a secret as well, and wants it; give client_secret_file", issuer.Title)
}

// scheduleWarning says when a schedule comes more often than the provider
// likes; "" when it does not.
func scheduleWarning(preset provider.Provider, schedule Schedule) string {
	gap := schedule.closer(preset.MinInterval)
	if gap == 0 {
		return ""
	}
	return fmt.Sprintf("%s comes again after %s, and %s wants %s between logins; use %q",
		quoted(schedule.String()), span(gap), preset.Title, span(preset.MinInterval), preset.Schedule)
}

// span shows a time span without the zeros at its end.
func span(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// closer returns a time between two comings that is shorter than least, as far
// as it shows within a year and some hundred comings; 0 when there is none.
func (s Schedule) closer(least time.Duration) time.Duration {
	if least == 0 {
		return 0
	}
	const comings = 400
	last := s.Next(time.Date(2025, time.December, 31, 23, 59, 0, 0, time.UTC))
	year := last.AddDate(1, 0, 0)
	for range comings {
		next := s.Next(last)
		if next.IsZero() || next.After(year) {
			break
		}
		if gap := next.Sub(last); gap < least {
			return gap
		}
		last = next
	}
	return 0
}

// PasswordWarning reads the account's password and says when it cannot be what
// the provider wants, such as a Gmail account's normal password instead of an
// app password; "" when nothing speaks against it, when there is none, or when
// it cannot be read, which Password tells. The text does not hold the password.
func (a Account) PasswordWarning(ctx context.Context) string {
	if a.Preset().Letters == 0 || a.secret == nil {
		return ""
	}
	password, err := a.Password(ctx)
	if err != nil {
		return ""
	}
	return passwordWarning(a.Preset(), password)
}

// passwordWarning judges a password by the letters of the provider's app
// passwords.
func passwordWarning(preset provider.Provider, password string) string {
	bare := strings.Join(strings.FieldsFunc(password, unicode.IsSpace), "")
	letters := !strings.ContainsFunc(bare, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
	if preset.Letters == 0 || letters && len(bare) == preset.Letters {
		return ""
	}
	return fmt.Sprintf("this is no app password, which has %d letters, and %s refuses the account's normal password; make an app password at %s",
		preset.Letters, preset.Title, preset.Pages.AppPasswords)
}
