package main

import (
	"context"
	"fmt"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// preview is the line of `--once --dry-run --json` for an account.
type preview struct {
	Account    string `json:"account"`
	Listed     int    `json:"listed"`
	Known      int    `json:"known"`
	ToFetch    int    `json:"to_fetch"`
	FetchBytes int64  `json:"fetch_bytes"`
	ToDelete   int    `json:"to_delete"`
	TooLarge   int    `json:"too_large"`
	Waiting    int    `json:"waiting"` // failed before, tried again later
	SetAside   int    `json:"set_aside"`
	Error      string `json:"error"`

	HeldBack  int        `json:"held_back"` // due to be deleted, but not here as they were stored
	Left      int        `json:"left"`      // for later, by the daily limit
	AtMost    bool       `json:"at_most"`   // some of to_fetch may turn out to be here already
	Held      bool       `json:"held"`      // the figures are of a run at not_before
	NotBefore *time.Time `json:"not_before"`

	windowed bool // the server lists a part of its mail only
}

// dryRun says what once would do, and does nothing.
func (a *app) dryRun(ctx context.Context, names []string) error {
	f, accounts, done, err := a.openAccounts(openReader, config.Load, names)
	if err != nil {
		return err
	}
	defer done()
	var codes []int
	for _, account := range accounts {
		p, err := f.Preview(ctx, account)
		if err := a.printPreview(newPreview(account, p, err)); err != nil {
			return err
		}
		if err != nil {
			codes = append(codes, tell(a.stderr, err))
		}
	}
	return told(codes)
}

func newPreview(account config.Account, p fetch.Preview, err error) preview {
	v := preview{
		Account: account.Name, Listed: p.Listed, Known: p.Known, ToFetch: p.ToFetch, FetchBytes: p.FetchBytes,
		ToDelete: p.ToDelete, TooLarge: p.TooLarge, Waiting: p.Waiting, SetAside: p.SetAside,
		HeldBack: p.HeldBack, Left: p.Left, AtMost: p.AtMost, Held: p.Held, NotBefore: timeOrNull(p.NotBefore),
		windowed: account.Preset().Windowed,
	}
	if p.Deletes {
		v.ToDelete += p.ToFetch // in the same session
	}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

func (a *app) printPreview(p preview) error {
	switch {
	case a.json:
		return a.printJSON(p)
	case p.Error != "":
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n", p.Account, p.words())
	return err
}

// words says what would be done, and when, if that is not now.
func (p preview) words() string {
	if !p.Held {
		return p.deeds()
	}
	return fmt.Sprintf("nothing would be done before %s (popfetchd status says why); then: %s", moment(*p.NotBefore, time.Now()), p.deeds())
}

func (p preview) deeds() string {
	switch {
	case p.Listed == 0 && p.windowed:
		return "nothing listed that was not fetched before"
	case p.Listed == 0:
		return "no messages on the server"
	}
	most := ""
	if p.AtMost {
		most = "up to "
	}
	s := plural(p.Listed, "message") + " listed; would fetch "
	switch p.ToFetch {
	case 0:
		s += "none"
	default:
		s += fmt.Sprintf("%s%s (%s)", most, grouped(int64(p.ToFetch)), size(p.FetchBytes))
	}
	if p.ToDelete > 0 {
		s += fmt.Sprintf(" and delete %s%s on the server", most, grouped(int64(p.ToDelete)))
	} else {
		s += " and delete none"
	}
	if p.AtMost {
		s += "; what turns out to be here already is not stored again"
	}
	for _, left := range []struct {
		n   int
		why string
	}{
		{p.HeldBack, "due to be deleted, but moved, changed or deleted here, left there"},
		{p.Left, "over the daily limit, left for later"},
		{p.TooLarge, "too large, left there"},
		{p.Waiting, "failed before, later again"},
		{p.SetAside, "set aside after failures"},
	} {
		if left.n > 0 {
			s += fmt.Sprintf("; %s %s", grouped(int64(left.n)), left.why)
		}
	}
	return s
}
