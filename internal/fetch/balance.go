package fetch

import "fmt"

// openBooks counts the account's rows before the first of this run is added.
func (r *run) openBooks() (err error) {
	if r.counting {
		return nil
	}
	r.before, err = r.Ledger.Count(r.account.Name)
	r.before -= r.booked
	r.counting = err == nil
	return err
}

// balance makes sure that the numbers of the run add up, in its report and in the ledger. If they do not, some message
// was treated in no way or in two.
func (r *run) balance() error {
	p := &r.report
	if r.blurred { // only what was stored is sure
		p.New = max(p.New, p.Stored)
		p.Listed = r.known + p.New + p.Skipped
	}
	if p.Listed != r.known+p.New+p.Skipped || p.New < p.Stored {
		return &sortedError{Bug, fmt.Errorf("the numbers do not add up: of %d messages listed, %d were known, %d new (%d of them stored) and %d skipped", p.Listed, r.known, p.New, p.Stored, p.Skipped)}
	}
	if !r.counting {
		return nil
	}
	rows, err := r.Ledger.Count(r.account.Name)
	if err == nil && rows != r.before+r.booked {
		err = &sortedError{Bug, fmt.Errorf("the numbers do not add up: the ledger had %d messages of the account, the run added %d, and now it has %d", r.before, r.booked, rows)}
	}
	return err
}
