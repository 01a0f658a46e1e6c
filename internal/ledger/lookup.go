package ledger

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// lookupRows is how many keys one SELECT asks for: large enough to make the cost of a statement vanish, small enough
// to keep its parameters well under SQLite's limit of 32,766.
const lookupRows = 500

// lookup is the SELECT for so many keys, numbered from 0. CROSS JOIN keeps SQLite to their order.
func lookup(rows int) string {
	var numbered strings.Builder
	for n := range rows {
		fmt.Fprintf(&numbered, ", (%d, ?, ?, ?)", n)
	}
	return `WITH asked (n, uid, size, occurrence) AS (VALUES ` + numbered.String()[2:] + `)
		SELECT n, stored_at, deletion, mailbox IS NOT NULL FROM asked CROSS JOIN messages
		ON messages.account = ? AND messages.uid = asked.uid AND listed_size = asked.size AND messages.occurrence = asked.occurrence`
}

// States returns what the ledger knows of each key, in their order. Its cost follows the number of keys, not the size
// of the ledger: about 2 µs and 120 bytes a key.
func (l *Ledger) States(account string, keys []Key) ([]State, error) {
	states := make([]State, len(keys))
	id, err := l.id(account)
	if id == 0 || err != nil {
		return states, err
	}
	if err := l.lookUp(id, keys, states); err != nil {
		return nil, l.fail("looking up messages", err)
	}
	return states, l.addFailures(account, keys, states)
}

// lookUp fills in states from the table messages. It talks to the driver below database/sql, which would cost half as
// much time again and twice the memory: this is all that a poll does that finds nothing new.
func (l *Ledger) lookUp(account int64, keys []Key, states []State) error {
	conn, err := l.db.Conn(context.Background())
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(c any) error {
		order := tableOrder(keys)
		for rows := lookupRows; len(order) > 0; order = order[len(order)/rows*rows:] {
			rows = min(rows, len(order))
			if err := lookUpBy(c.(driver.ConnPrepareContext), rows, account, keys, order, states); err != nil {
				return err
			}
		}
		return nil
	})
}

// lookUpBy asks for as many keys as come in full groups of so many rows.
func lookUpBy(c driver.ConnPrepareContext, rows int, account int64, keys []Key, order []int32, states []State) error {
	statement, err := c.PrepareContext(context.Background(), lookup(rows))
	if err != nil {
		return err
	}
	defer statement.Close()
	parameters := make([]driver.NamedValue, 3*rows+1)
	for i := range parameters {
		parameters[i].Ordinal = i + 1
	}
	parameters[3*rows].Value = account
	for ; len(order) >= rows; order = order[rows:] {
		for n, i := range order[:rows] {
			p := parameters[3*n : 3*n+3]
			p[0].Value, p[1].Value, p[2].Value = keys[i].UID, keys[i].ListedSize, int64(keys[i].Occurrence)
		}
		if err := readStates(statement.(driver.StmtQueryContext), parameters, order, states); err != nil {
			return err
		}
	}
	return nil
}

// readStates runs the lookup: the key numbered n is the one at index asked[n].
func readStates(statement driver.StmtQueryContext, parameters []driver.NamedValue, asked []int32, states []State) error {
	rows, err := statement.QueryContext(context.Background(), parameters)
	if err != nil {
		return err
	}
	defer rows.Close()
	var row [4]driver.Value
	for {
		err := rows.Next(row[:])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		n, _ := row[0].(int64)
		at, ok := row[1].(int64)
		deletion, ok2 := row[2].(int64)
		stored, _ := row[3].(int64)
		if !ok || !ok2 { // no column of a STRICT table holds anything else, while it is whole
			return damaged("a message's row holds no numbers where they belong")
		}
		states[asked[n]] = State{Known: true, StoredAt: time.Unix(at, 0), Deletion: Deletion(deletion), Stored: stored != 0}
	}
}

// tableOrder returns the indices of keys in the order of the table, so that each of its pages is read only once.
func tableOrder(keys []Key) []int32 {
	order := make([]int32, len(keys))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return strings.Compare(keys[a].UID, keys[b].UID) })
	return order
}

func (l *Ledger) addFailures(account string, keys []Key, states []State) error {
	failures, err := l.Failures(account)
	if err != nil || len(failures) == 0 {
		return err
	}
	byKey := make(map[Key]*Failure, len(failures))
	for i := range failures {
		byKey[failures[i].Key] = &failures[i]
	}
	for i, key := range keys {
		states[i].Failure = byKey[key]
	}
	return nil
}
