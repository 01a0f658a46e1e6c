package main

import (
	"fmt"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
)

// unhealthy tells in one line what is wrong with an account, or "" when nothing
// is: it had a success within its alert_after, nobody wants to know, or it was
// never tried, as when the daemon has only just been started.
func unhealthy(s accountStatus, account config.Account, now time.Time) string {
	switch {
	case account.AlertAfter == 0 || s.LastAttempt == nil:
		return ""
	case s.LastSuccess == nil:
		return "no success yet: " + oneLine(s.LastError)
	case now.Sub(*s.LastSuccess) > account.AlertAfter:
		problem := ""
		if s.LastError != "" {
			problem = ": " + oneLine(s.LastError)
		}
		return "last success " + lastSuccess(s, now) + problem
	}
	return ""
}

// tellUnhealthy writes a line for each account that is not well, and gives exit
// code 75 if there is any.
func (a *app) tellUnhealthy(all []accountStatus, accounts []config.Account, now time.Time) error {
	var codes []int
	for i, s := range all {
		if problem := unhealthy(s, accounts[i], now); problem != "" {
			fmt.Fprintf(a.stderr, "popfetchd: account %s: %s\n", s.Account, problem)
			codes = append(codes, exitTemporary)
		}
	}
	return told(codes)
}
