package ledger

import "time"

// Accounts returns the names of all accounts that were ever enrolled, sorted.
func (l *Ledger) Accounts() ([]string, error) {
	const op = "reading the accounts"
	rows, err := l.db.Query("SELECT name FROM accounts ORDER BY name")
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, l.fail(op, err)
		}
		names = append(names, name)
	}
	return names, l.fail(op, rows.Err())
}

// Day is what was stored on a day.
type Day struct {
	Date     string // as in 2026-11-22
	Messages int
	Bytes    int64 // as stored
}

// dayGrain divides every time zone's offset, as far as mail goes back.
const dayGrain = 15 * 60

// Days returns what was stored since a time on each day of the time zone, oldest first; days without any are left out.
// Account is "" for all.
func (l *Ledger) Days(account string, since time.Time, zone *time.Location) ([]Day, error) {
	const op = "counting the messages of each day"
	rows, err := l.db.Query(`SELECT stored_at / ?1 * ?1 AS at, count(*), sum(size)
		FROM accounts JOIN messages ON messages.account = accounts.id
		WHERE (?2 = '' OR accounts.name = ?2) AND mailbox IS NOT NULL AND stored_at >= ?3
		GROUP BY at ORDER BY at`, dayGrain, account, roundedUp(since))
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var days []Day
	for rows.Next() {
		var at, bytes int64
		var messages int
		if err := rows.Scan(&at, &messages, &bytes); err != nil {
			return nil, l.fail(op, err)
		}
		date := time.Unix(at, 0).In(zone).Format(time.DateOnly)
		if len(days) == 0 || days[len(days)-1].Date != date {
			days = append(days, Day{Date: date})
		}
		last := &days[len(days)-1]
		last.Messages, last.Bytes = last.Messages+messages, last.Bytes+bytes
	}
	return days, l.fail(op, rows.Err())
}

// Recent is a stored message with the account that it is of.
type Recent struct {
	Account string
	Message
}

// Newest returns the n messages that were stored last, newest first. Account is "" for all. Of those of one second, as the
// batches of a first run are, the last in an mbox comes first; in a Maildir nothing tells but the UIDs, which most servers
// count upwards, in digits of one length or without zeros in front. Like Days and Summary it looks at every message of the
// account, which takes about 35 ms for 100,000.
func (l *Ledger) Newest(account string, n int) ([]Recent, error) {
	const op = "reading the newest messages"
	rows, err := l.db.Query(`SELECT accounts.name, `+columns+`
		FROM accounts JOIN messages ON messages.account = accounts.id JOIN mailboxes ON mailboxes.id = messages.mailbox
		WHERE ?1 = '' OR accounts.name = ?1
		ORDER BY stored_at DESC, accounts.name, coalesce("offset", 0) DESC, octet_length(uid) DESC, uid DESC, listed_size DESC, occurrence DESC LIMIT ?2`, account, max(n, 0))
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var newest []Recent
	for rows.Next() {
		var name string
		m, err := scanMessage(func(to ...any) error { return rows.Scan(append([]any{&name}, to...)...) })
		if err != nil {
			return nil, l.fail(op, err)
		}
		newest = append(newest, Recent{name, m})
	}
	return newest, l.fail(op, rows.Err())
}
