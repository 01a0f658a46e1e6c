package ledger

import (
	"database/sql"
	"time"
)

const (
	// trafficGrain is how finely Traffic tells times.
	trafficGrain = 5 * time.Minute
	// trafficKept is how long it is remembered: a rolling day, with room to spare.
	trafficKept = 25 * time.Hour
)

// Traffic is what was received in five minutes.
type Traffic struct {
	At     time.Time // their end: it may lie ahead
	Octets int64
}

// AddTraffic counts what was received at a time. A negative number corrects what was counted too much. Of what is more than
// 25 hours before that time nothing is remembered, nor of what is as much after it: the clock was wrong then.
func (l *Ledger) AddTraffic(account string, at time.Time, octets int64) error {
	if octets == 0 {
		return nil
	}
	id, err := l.enrolled(account)
	if err != nil {
		return err
	}
	return l.change("counting what was received", func(tx *sql.Tx) error {
		kept := int64(trafficKept / time.Second)
		if _, err := tx.Exec("DELETE FROM traffic WHERE account = ? AND (at < ? OR at > ?)", id, at.Unix()-kept, at.Unix()+kept); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO traffic (account, at, octets) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET octets = octets + excluded.octets",
			id, grain(at), octets)
		return err
	})
}

// grain is the end of the five minutes that a time lies in, in Unix seconds.
func grain(at time.Time) int64 {
	seconds := int64(trafficGrain / time.Second)
	passed := at.Unix() % seconds
	if passed < 0 {
		passed += seconds
	}
	return at.Unix() - passed + seconds
}

// Traffic returns what was received since a time, oldest first, and counts five minutes that have begun before it as a whole.
// What lies more than two days after it is left out: the clock was wrong then.
func (l *Ledger) Traffic(account string, since time.Time) ([]Traffic, error) {
	const op = "reading what was received"
	rows, err := l.db.Query(`SELECT at, octets FROM traffic JOIN accounts ON accounts.id = traffic.account
		WHERE accounts.name = ? AND at > ? AND at <= ? ORDER BY at`, account, since.Unix(), since.Add(48*time.Hour).Unix())
	if err != nil {
		return nil, l.fail(op, err)
	}
	defer rows.Close()
	var traffic []Traffic
	for rows.Next() {
		var at, octets int64
		if err := rows.Scan(&at, &octets); err != nil {
			return nil, l.fail(op, err)
		}
		traffic = append(traffic, Traffic{time.Unix(at, 0), octets})
	}
	return traffic, l.fail(op, rows.Err())
}
