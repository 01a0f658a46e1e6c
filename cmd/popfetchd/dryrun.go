package main

import (
	"context"
	"fmt"

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
	v := preview{account.Name, p.Listed, p.Known, p.ToFetch, p.FetchBytes, p.ToDelete, p.TooLarge, p.Waiting, p.SetAside, "", account.Preset().Windowed}
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

// words says what would be done.
func (p preview) words() string {
	switch {
	case p.Listed == 0 && p.windowed:
		return "nothing listed that was not fetched before"
	case p.Listed == 0:
		return "no messages on the server"
	}
	s := plural(p.Listed, "message") + " listed; would fetch "
	switch p.ToFetch {
	case 0:
		s += "none"
	default:
		s += fmt.Sprintf("%s (%s)", grouped(int64(p.ToFetch)), size(p.FetchBytes))
	}
	if p.ToDelete > 0 {
		s += fmt.Sprintf(" and delete %s on the server", grouped(int64(p.ToDelete)))
	} else {
		s += " and delete none"
	}
	if p.TooLarge > 0 {
		s += fmt.Sprintf("; %s too large, left there", grouped(int64(p.TooLarge)))
	}
	if p.Waiting > 0 {
		s += fmt.Sprintf("; %s failed before, later again", grouped(int64(p.Waiting)))
	}
	if p.SetAside > 0 {
		s += fmt.Sprintf("; %s set aside after failures", grouped(int64(p.SetAside)))
	}
	return s
}
