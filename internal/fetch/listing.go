package fetch

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
	"github.com/popfetchd/popfetchd/internal/store"
)

// UIDs that are made here, where the server gives none. They begin with a space, as no server's does.
const (
	headerUID = " header " // with the header's SHA-256: tells the message as long as the server has it
	onceUID   = " once "   // with the session and the number: tells it in this session only
)

// maildrop is what the server listed, and what to do about it. Its slices run in parallel.
type maildrop struct {
	listing  []pop3.Entry
	keys     []ledger.Key
	states   []ledger.State
	plan     plan
	copies   copies
	matched  []int        // indices of messages that turned out to be here already
	unnamed  []int        // indices of those that have their UID from us although the server has UIDL
	again    []ledger.Key // of messages that were deleted on the server, and are listed again or had their UID given to others
	fleeting bool         // there are UIDs that tell messages in this session only
	leftOut  int          // messages of which nobody can say whether they are new
	damage   error        // what was wrong with the listing
}

// numbers returns the message numbers, in this session, of the messages at indices.
func (d *maildrop) numbers(indices []int) []int {
	numbers := make([]int, len(indices))
	for i, index := range indices {
		numbers[i] = d.listing[index].Number
	}
	return numbers
}

// ask asks the server what the maildrop holds, and makes sure that each message can be known again.
func (r *run) ask(session *pop3.Session) (*maildrop, error) {
	r.doing = "listing the messages"
	listing, err := session.List()
	if err != nil {
		return nil, err
	}
	if listing.Refused != nil {
		if err := r.judgeNoUIDL(session, listing.Refused); err != nil {
			return nil, err
		}
	}
	drop := &maildrop{listing: listing.Entries, damage: listing.Damage}
	if err := r.name(session, drop, listing.Refused); err != nil {
		return nil, err
	}
	drop.keys = identify(drop.listing)
	return drop, nil
}

// judgeNoUIDL tells a server that has no UIDL from one that refuses it now: to take its mail for new, all of it, would be
// to fetch it twice.
func (r *run) judgeNoUIDL(session *pop3.Session, refused *pop3.ReplyError) error {
	if session.Capabilities().Has("UIDL") {
		return refused
	}
	if r.Ledger == nil {
		return nil
	}
	has, err := r.Ledger.HasUIDs(r.account.Name)
	if err == nil && has {
		err = fmt.Errorf("%w, although it listed unique ids before", refused)
	}
	return err
}

// name gives UIDs to messages that have none from the server, and takes those out of the listing that have none even so.
// refused is the server's answer to UIDL, when it has none.
func (r *run) name(session *pop3.Session, drop *maildrop, refused *pop3.ReplyError) error {
	unusable := func(e pop3.Entry) bool { return e.UID == "" || e.Size < 0 }
	if !slices.ContainsFunc(drop.listing, unusable) {
		return nil
	}
	if !rulesOf(r.account).window { // Gmail's UIDs are for life, and TOP may hide what it shows
		if err := r.nameAll(session, drop); err != nil {
			return err
		}
	}
	listed := len(drop.listing)
	drop.listing = slices.DeleteFunc(drop.listing, unusable)
	drop.leftOut = listed - len(drop.listing)
	if drop.leftOut > 0 && drop.damage == nil {
		drop.damage = fmt.Errorf("the server gives %d messages no unique id, nor their headers: nobody can tell whether they are new", drop.leftOut)
	}
	if refused != nil && len(drop.listing) == 0 {
		return &sortedError{Configuration, fmt.Errorf("%w; it has no UIDL (RFC 1939 §7) and no TOP, so nobody can tell new mail from what was fetched while it keeps copies: use policy: delete, or ask the provider", refused)}
	}
	if refused == nil {
		for i, e := range drop.listing {
			if e.UID[0] == ' ' {
				drop.unnamed = append(drop.unnamed, i)
			}
		}
	}
	return nil
}

// nameAll gives UIDs to messages that have none: by their headers, where they are to be known again. Where they are deleted
// at once, all that is listed is new, but for what an unclean end left: that is known by its content, see copies.
func (r *run) nameAll(session *pop3.Session, drop *maildrop) error {
	if !r.deletesAtOnce() || r.account.Access == config.FromNowOn {
		return r.nameByHeader(session, drop.listing)
	}
	for i, e := range drop.listing {
		if e.UID == "" {
			drop.listing[i].UID = fmt.Sprintf("%s%x.%d %d", onceUID, r.began.UnixNano(), r.report.Sessions, e.Number)
			drop.fleeting = true
		}
	}
	return nil
}

// nameByHeader gives the hash of its header as UID to each message that has none, where the server has TOP.
func (r *run) nameByHeader(session *pop3.Session, listing []pop3.Entry) error {
	var nameless, numbers []int
	for i, e := range listing {
		if e.UID == "" {
			nameless, numbers = append(nameless, i), append(numbers, e.Number)
		}
	}
	r.doing = "asking for headers, since the server gave no unique ids"
	for n, err := range headerSums(session, numbers) {
		if err != nil {
			return err
		}
		if n.known {
			listing[nameless[n.index]].UID = headerUID + hex.EncodeToString(n.sum[:])
		}
	}
	return nil
}

// headerSum is the hash of one listed message's header.
type headerSum struct {
	index int // in the numbers asked for
	sum   [32]byte
	known bool // false: the server refused
}

// headerSums asks for the headers of messages, as far as the server has TOP. An error ends the sequence.
func headerSums(session *pop3.Session, numbers []int) func(yield func(headerSum, error) bool) {
	return func(yield func(headerSum, error) bool) {
		if c := session.Capabilities(); len(numbers) == 0 || (c.Known() && !c.Has("TOP")) {
			return
		}
		index := 0
		for message := range session.Headers(numbers) {
			h, err := readHeader(message)
			h.index = index
			index++
			if !yield(h, err) || err != nil {
				return
			}
		}
	}
}

// readHeader hashes a header. A refusal is no error, unless it is for now only.
func readHeader(message *pop3.Message) (h headerSum, err error) {
	if reply := (*pop3.ReplyError)(nil); errors.As(message.Err, &reply) && !reply.Temporary() {
		return h, nil
	}
	if message.Err != nil {
		return h, message.Err
	}
	h.sum, err = store.HeaderSum(message)
	h.known = err == nil
	if err == nil { // the rest tells a server that hung up in mid-header from one that sent it whole
		_, err = io.Copy(io.Discard, message)
	}
	return h, err
}
