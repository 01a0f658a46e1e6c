package ledger

import (
	"cmp"
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

// scanFactor is how many rows a scan of the account's may pass for each key before asking for the keys one by one is
// cheaper: a row passed by costs a quarter of a row asked for.
const scanFactor = 4

// States returns what the ledger knows of each key, in their order. Its cost follows the number of keys, not the size
// of the ledger: at most about 2 µs a key.
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
		driver := c.(driver.ConnPrepareContext)
		order, err := merge(driver, account, keys, tableOrder(keys), states)
		if err != nil {
			return err
		}
		for rows := lookupRows; len(order) > 0; order = order[len(order)/rows*rows:] {
			rows = min(rows, len(order))
			if err := lookUpBy(driver, rows, account, keys, order, states); err != nil {
				return err
			}
		}
		return nil
	})
}

// merge reads the account's rows, in the order of the table, beside the keys in the same order: the quickest way when
// most of what is known is asked for. It gives up after too many rows and returns the keys it has not come to.
func merge(c driver.ConnPrepareContext, account int64, keys []Key, order []int32, states []State) (rest []int32, err error) {
	statement, err := c.PrepareContext(context.Background(), `SELECT uid, listed_size, occurrence, stored_at, deletion, mailbox IS NOT NULL
		FROM messages WHERE account = ? ORDER BY uid, listed_size, occurrence`)
	if err != nil {
		return nil, err
	}
	defer statement.Close()
	rows, err := statement.(driver.StmtQueryContext).QueryContext(context.Background(), []driver.NamedValue{{Ordinal: 1, Value: account}})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var row [6]driver.Value
	for passed := 0; len(order) > 0 && passed < scanFactor*len(keys); passed++ {
		if err := rows.Next(row[:]); errors.Is(err, io.EOF) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		uid, _ := row[0].(string)
		size, _ := row[1].(int64)
		occurrence, _ := row[2].(int64)
		here := Key{uid, size, int(occurrence)}
		for len(order) > 0 && compareKeys(keys[order[0]], here) < 0 {
			order = order[1:] // not in the table
		}
		for len(order) > 0 && keys[order[0]] == here {
			if states[order[0]], err = stateOf(row[3:]); err != nil {
				return nil, err
			}
			order = order[1:]
		}
	}
	return order, nil
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
		if states[asked[n]], err = stateOf(row[1:]); err != nil {
			return err
		}
	}
}

// stateOf reads stored_at, deletion and whether there is a mailbox.
func stateOf(columns []driver.Value) (State, error) {
	at, ok := columns[0].(int64)
	deletion, ok2 := columns[1].(int64)
	stored, _ := columns[2].(int64)
	if !ok || !ok2 { // no column of a STRICT table holds anything else, while it is whole
		return State{}, damaged("a message's row holds no numbers where they belong")
	}
	return State{Known: true, StoredAt: time.Unix(at, 0), Deletion: Deletion(deletion), Stored: stored != 0}, nil
}

// tableOrder returns the indices of keys in the order of the table, so that each of its pages is read only once, and rows and
// keys can be merged.
func tableOrder(keys []Key) []int32 {
	order := make([]int32, len(keys))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return compareKeys(keys[a], keys[b]) })
	return order
}

func compareKeys(a, b Key) int {
	if c := strings.Compare(a.UID, b.UID); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.ListedSize, b.ListedSize), cmp.Compare(a.Occurrence, b.Occurrence))
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
