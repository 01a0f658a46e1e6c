package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
)

// address is where an account's server is.
func address(account config.Account) string {
	return net.JoinHostPort(account.Host, strconv.Itoa(account.Port))
}

// policyWords says in plain words what happens to an account's mail on the
// server, a sentence an element.
func policyWords(account config.Account) []string {
	words := []string{copyWords(account)}
	if account.Access == config.FromNowOn {
		words = append(words, "What is there at the first run is left alone; only later mail is fetched.")
	}
	if account.Recent {
		words = append(words, "Gmail's recent mode: the mail of the last 30 days is looked at, also what other programs fetched.")
	}
	if account.MaxMessageSize > 0 {
		words = append(words, fmt.Sprintf("Messages over %s stay on the server and are not fetched.", size(account.MaxMessageSize)))
	}
	return words
}

// copyWords says what becomes of the server's copy.
func copyWords(account config.Account) string {
	gmail := account.Provider == "gmail"
	switch account.Policy {
	case config.MarkRead:
		return `Gmail marks its copy as read, if its POP setting is "mark Gmail's copy as read"; nothing is deleted.`
	case config.Archive:
		return `Gmail archives its copy, if its POP setting is "archive Gmail's copy"; nothing is deleted.`
	case config.Delete:
		where := "on the server"
		if gmail {
			where = "at Gmail (it goes to Gmail's trash)"
		}
		if account.DeleteAfter == 0 {
			return fmt.Sprintf("A message is deleted %s as soon as it is safely stored here.", where)
		}
		return fmt.Sprintf("A message is deleted %s %s after it was stored here.", where, span(account.DeleteAfter))
	}
	if gmail {
		return `Gmail's copy stays in the inbox, if its POP setting is "keep Gmail's copy in the inbox"; nothing is deleted.`
	}
	return "Mail stays on the server; nothing is deleted there."
}

// span is a length of time in the largest unit that fits it exactly.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d%day == 0:
		return plural(int(d/day), "day")
	case d%time.Hour == 0:
		return plural(int(d/time.Hour), "hour")
	case d%time.Minute == 0:
		return plural(int(d/time.Minute), "minute")
	}
	return strings.TrimSpace(d.String())
}

// tlsWords says how the connection is protected.
func tlsWords(account config.Account) string {
	switch account.TLS {
	case "none":
		return "no TLS: mail and password travel in the clear"
	case "starttls":
		return "TLS by STLS"
	}
	return "TLS from the start"
}

// trustWords says which certificate is accepted.
func trustWords(account config.Account) string {
	switch {
	case account.TLS == "none":
		return "none"
	case len(account.PinSHA256) > 0:
		return "only the pinned certificate"
	case account.CAFile != "":
		return "authorities in " + account.CAFile
	}
	return "the system's authorities"
}
