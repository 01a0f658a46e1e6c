package ledger

import (
	"database/sql"
	"time"
)

// Incident is something wrong that goes on, and that is told once when it begins and once when it ends.
type Incident struct {
	Account string // need not be enrolled; "" for none in particular
	Kind    string // of which an account has one at a time
	Since   time.Time
	Told    time.Time // last; zero: not yet
	Text    string    // for people
}

// Incidents returns all that go on, the oldest first. Times are to the second.
func (l *Ledger) Incidents() ([]Incident, error) {
	const op = "reading the incidents"
	rows, err := l.db.Query("SELECT account, kind, since, told, problem FROM incidents ORDER BY since, account, kind")
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var incidents []Incident
	for rows.Next() {
		var i Incident
		var since, told sql.NullInt64
		if err := rows.Scan(&i.Account, &i.Kind, &since, &told, &i.Text); err != nil {
			return nil, l.fail(op, err)
		}
		i.Since, i.Told = moment(since), moment(told)
		incidents = append(incidents, i)
	}
	return incidents, l.fail(op, rows.Err())
}

// RaiseIncident notes an incident. Of one that goes on already only the text changes.
func (l *Ledger) RaiseIncident(i Incident) error {
	return l.change("recording an incident", func(tx *sql.Tx) error {
		told := sql.NullInt64{Int64: i.Told.Unix(), Valid: !i.Told.IsZero()}
		_, err := tx.Exec(`INSERT INTO incidents (account, kind, since, told, problem) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET problem = excluded.problem WHERE problem <> excluded.problem`, i.Account, i.Kind, i.Since.Unix(), told, i.Text)
		return err
	})
}

// ToldIncident notes when an incident was told. One that has ended is not begun again.
func (l *Ledger) ToldIncident(account, kind string, at time.Time) error {
	return l.change("recording that an incident was told", func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE incidents SET told = ? WHERE account = ? AND kind = ?", at.Unix(), account, kind)
		return err
	})
}

// EndIncident forgets an incident, if there is one.
func (l *Ledger) EndIncident(account, kind string) error {
	return l.change("ending an incident", func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM incidents WHERE account = ? AND kind = ?", account, kind)
		return err
	})
}
