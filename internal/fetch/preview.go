package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/store"
)

// Preview is what a run would do now. With Held it would do nothing: then the figures are of a run at NotBefore.
type Preview struct {
	Listed     int   // messages the server lists
	Known      int   // of those, stored before, here already, or taken as already had
	ToFetch    int   // of those, to be fetched
	FetchBytes int64 // of those, octets as listed
	ToDelete   int   // copies on the server whose time to go has come, of messages stored before
	HeldBack   int   // others whose time has come, which stay: the copies here are not as they were stored
	TooLarge   int   // over max_message_size
	Waiting    int   // failed before, tried again later
	SetAside   int   // failed too often
	Left       int   // over daily_limit: left for later
	Deletes    bool  // what is fetched is deleted on the server in the same session
	AtMost     bool  // some of ToFetch may turn out to be here already: that is not stored again, and ToDelete may be less

	Held      bool // the account is not to be logged in to before NotBefore
	NotBefore time.Time
}

// Inspection is what a login finds out, for check --online.
type Inspection struct {
	Address      string
	TLSVersion   string // "" without TLS
	CipherSuite  string
	Certificate  *x509.Certificate // the server's own; nil without TLS
	Fingerprint  [sha256.Size]byte // its SHA-256
	Capabilities []string          // after login, as announced
	Pipelined    bool
	Messages     int   // STAT
	Octets       int64 // STAT
	Preview      Preview
}

// CheckLogin logs in, asks for STAT, which some servers refuse although they let one in, and leaves. With a token that is
// not empty it is the one to log in with. Nothing is changed, here or on the server.
func (f *Fetcher) CheckLogin(ctx context.Context, account config.Account, token string) error {
	r := f.newRun(account, nil)
	r.token = token
	session, err := r.connect(ctx)
	if err != nil {
		return &Error{Account: account.Name, Doing: r.doing, Err: err}
	}
	defer session.Close()
	r.doing = "asking for the state of the maildrop"
	if _, _, err := session.Stat(); err != nil {
		return &Error{Account: account.Name, Doing: r.doing, Err: r.advise(err)}
	}
	_ = session.Quit() // what there was to know is known
	return nil
}

// Preview logs in and says what a run would do. It changes nothing, here or on the server. Ledger may be nil.
func (f *Fetcher) Preview(ctx context.Context, account config.Account) (Preview, error) {
	inspection, err := f.Inspect(ctx, account)
	return inspection.Preview, err
}

// Inspect logs in and looks around. It changes nothing, here or on the server. Ledger may be nil.
func (f *Fetcher) Inspect(ctx context.Context, account config.Account) (Inspection, error) {
	r := f.newRun(account, nil)
	inspection, err := r.inspect(ctx)
	if err != nil {
		return inspection, &Error{Account: account.Name, Doing: r.doing, Err: err}
	}
	return inspection, nil
}

func (r *run) inspect(ctx context.Context) (Inspection, error) {
	i := Inspection{Address: address(r.account)}
	session, err := r.connect(ctx)
	if err != nil {
		return i, err
	}
	defer session.Close()
	if state, ok := session.ConnectionState(); ok {
		i.TLSVersion, i.CipherSuite = tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)
		i.Certificate = state.PeerCertificates[0]
		i.Fingerprint = sha256.Sum256(i.Certificate.Raw)
	}
	i.Capabilities, i.Pipelined = session.Capabilities().Lines(), session.Pipelined()
	r.doing = "listing the messages"
	if i.Messages, i.Octets, err = session.Stat(); err != nil {
		return i, r.advise(err)
	}
	drop, err := r.ask(session)
	if err != nil {
		return i, r.advise(err)
	}
	if i.Preview, err = r.foresee(ctx, drop); err != nil {
		return i, err
	}
	r.doing = "ending the session"
	return i, cmp.Or(session.Quit(), drop.damage)
}

// foresee plans as a run does, without writing anything.
func (r *run) foresee(ctx context.Context, drop *maildrop) (Preview, error) {
	baseline, err := r.recall(drop)
	if err != nil {
		return Preview{}, err
	}
	p := Preview{Listed: len(drop.keys) + drop.leftOut, Deletes: r.deletesAtOnce()}
	if err := r.foreseeHold(ctx, &p); err != nil {
		return p, err
	}
	if r.account.Access == config.FromNowOn && !baseline {
		p.Known = len(drop.keys)
		return p, nil
	}
	if err := r.foreseeAdopted(ctx, drop); err != nil {
		return p, err
	}
	drop.plan = makePlan(drop.keys, drop.states, rulesOf(r.account), r.began)
	p.Known, p.TooLarge, p.Waiting, p.SetAside = drop.plan.known, len(drop.plan.tooLarge), len(drop.plan.waiting), len(drop.plan.setAside)
	for _, step := range []func(context.Context, *maildrop, *Preview) error{r.foreseeFetch, r.foreseeDeletions, r.foreseeCopies} {
		if err := step(ctx, drop, &p); err != nil {
			return p, err
		}
	}
	return p, nil
}

// recall asks the ledger, where there is one.
func (r *run) recall(drop *maildrop) (baseline bool, err error) {
	if r.Ledger == nil {
		drop.states = make([]ledger.State, len(drop.keys))
		return false, nil
	}
	if baseline, err = r.Ledger.HasBaseline(r.account.Name); err != nil {
		return false, err
	}
	return baseline, r.recognise(drop)
}

// foreseeHold says whether a run would log in at all, and moves the time that decisions go by to when it would.
func (r *run) foreseeHold(ctx context.Context, p *Preview) error {
	if r.Ledger == nil {
		return nil
	}
	_, err := r.held(ctx)
	if !r.report.Held {
		return err
	}
	p.Held, p.NotBefore, r.began = true, r.report.NotBefore, r.report.NotBefore
	return nil
}

// foreseeAdopted takes for known what a run would find in a Maildir, see adopt.
func (r *run) foreseeAdopted(ctx context.Context, drop *maildrop) error {
	strangers := drop.strangers(r.account.Name)
	if r.account.Maildir == "" || len(strangers) == 0 {
		return nil
	}
	paths, err := r.searched()
	if err != nil {
		return err
	}
	for _, path := range append(paths, r.account.Maildir.At(r.Now())) {
		if err := r.foreseeAdoptedFrom(ctx, path, drop, strangers); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) foreseeAdoptedFrom(ctx context.Context, path string, drop *maildrop, strangers map[store.ID]int) error {
	r.doing = "looking for mail that is there already in " + path
	mailbox, err := r.openExisting(path, r.account.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer mailbox.Close()
	for found, err := range mailbox.Survey(ctx) {
		if err != nil {
			return err
		}
		if index, ok := strangers[found.ID]; ok && found.Torn == "" {
			drop.states[index] = ledger.State{Known: true, Stored: true, StoredAt: r.began}
		}
	}
	return nil
}

// searched returns the mailboxes that a run would search for mail that the ledger does not know: those that an unclean end
// has left, and those of all days where the ledger never saw a run of the account end.
func (r *run) searched() (paths []string, err error) {
	last := time.Time{}
	if r.Ledger != nil {
		if paths, err = r.Ledger.Unsettled(r.account.Name); err != nil {
			return nil, err
		}
		if last, err = r.Ledger.LastAttempt(r.account.Name); err != nil {
			return nil, err
		}
	}
	if !last.IsZero() {
		return paths, nil
	}
	daily, err := filepath.Glob(everyDay(cmp.Or(r.account.Maildir, r.account.Mbox)))
	return append(paths, daily...), err
}

// foreseeFetch counts what would be fetched, as far as daily_limit lets it.
func (r *run) foreseeFetch(_ context.Context, drop *maildrop, p *Preview) error {
	wanted := slices.Concat(drop.plan.fetch, drop.plan.suspects)
	fits, err := r.affords(drop, wanted)
	p.ToFetch, p.Left = fits, len(wanted)-fits
	for _, index := range wanted[:fits] {
		p.FetchBytes += drop.listing[index].Size
	}
	return err
}

// affords says how many of the messages at indices stay within daily_limit, see room.
func (r *run) affords(drop *maildrop, indices []int) (n int, err error) {
	limit, total := r.account.DailyLimit, int64(0)
	if limit == 0 || len(indices) == 0 {
		return len(indices), nil
	}
	if r.Ledger != nil {
		spent, err := r.Ledger.Traffic(r.account.Name, r.began.Add(-day))
		if err != nil {
			return 0, err
		}
		for _, t := range spent {
			total += t.Octets
		}
	}
	if total > 0 && total+drop.listing[indices[0]].Size > limit {
		return 0, nil
	}
	n, _ = fit(drop, indices, len(indices), limit-total)
	return n, nil
}

// foreseeDeletions holds those due against the copies here, see safe.
func (r *run) foreseeDeletions(ctx context.Context, drop *maildrop, p *Preview) error {
	p.ToDelete = len(drop.plan.remove)
	if p.ToDelete == 0 || r.Ledger == nil || r.account.DeleteMissing {
		return nil
	}
	gone, err := r.goneHere(ctx, drop, drop.plan.remove)
	p.HeldBack = len(gone)
	p.ToDelete -= p.HeldBack
	return err
}

// foreseeCopies says whether some of what would be fetched may be here under other names. Which of it is, a run finds out by
// headers or by fetching it; either is more than a look.
func (r *run) foreseeCopies(_ context.Context, drop *maildrop, p *Preview) error {
	if p.ToFetch == 0 {
		return nil
	}
	r.doing = "looking for mail that is here already"
	unknown, err := r.holdsUnknown(drop)
	if err != nil {
		return err
	}
	renamed, err := r.renamed(drop)
	if err != nil {
		return err
	}
	p.AtMost = unknown || len(renamed) > 0
	due := 0
	for _, m := range renamed {
		if rulesOf(r.account).due(ledger.State{Stored: true, StoredAt: m.StoredAt}, r.began) {
			due++
		}
	}
	if !p.Deletes {
		p.ToDelete += min(due, p.ToFetch)
	}
	return nil
}

// renamed returns the messages that are listed by other UIDs by now, as it seems, and others that what is fetched would be
// held against.
func (r *run) renamed(drop *maildrop) ([]ledger.Message, error) {
	if r.Ledger == nil {
		return nil, nil
	}
	all, err := r.keptBefore(drop)
	if err != nil {
		return nil, err
	}
	if len(all) < movedFrom {
		all = nil
	}
	copies, err := r.findCopies(drop)
	for _, same := range copies {
		for _, m := range same {
			if m.UID == "" {
				m.StoredAt = r.began // as acknowledge has it
			}
			all = append(all, m.Message)
		}
	}
	return all, err
}

// holdsUnknown says whether a run would look through mailboxes for messages that only their content tells.
func (r *run) holdsUnknown(drop *maildrop) (bool, error) {
	paths, err := r.searched()
	if err != nil {
		return false, err
	}
	if r.account.Maildir != "" && !drop.fleeting {
		all, err := withSubfolders(paths)
		return len(all) > len(slices.Compact(slices.Sorted(slices.Values(paths)))), err
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && (info.IsDir() || info.Size() > 0) {
			return true, nil
		}
	}
	return false, nil
}

// ProbeMailbox says whether the account's mail can be stored, as far as one can tell without storing any.
func (f *Fetcher) ProbeMailbox(account config.Account) error {
	r := &run{Fetcher: f, account: account}
	path := account.Mailbox().At(f.Now())
	mailbox, err := r.open(path)
	if err == nil {
		err = mailbox.Probe()
	}
	if err != nil {
		return &Error{Account: account.Name, Doing: "looking at " + path, Err: err}
	}
	return mailbox.Close()
}
