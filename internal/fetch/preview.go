package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/ledger"
)

// Preview is what a run would do now.
type Preview struct {
	Listed     int   // messages the server lists
	Known      int   // of those, stored before or taken as already had
	ToFetch    int   // of those, to be fetched
	FetchBytes int64 // of those, octets as listed
	ToDelete   int   // copies on the server whose time to go has come, of messages stored before
	TooLarge   int   // over max_message_size
	Waiting    int   // failed before, tried again later
	SetAside   int   // failed too often
	Deletes    bool  // what is fetched is deleted on the server in the same session
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
	if i.Preview, err = r.foresee(drop); err != nil {
		return i, err
	}
	r.doing = "ending the session"
	return i, cmp.Or(session.Quit(), drop.damage)
}

// foresee plans as list does, without writing anything.
func (r *run) foresee(drop *maildrop) (Preview, error) {
	baseline, err := r.recall(drop)
	if err != nil {
		return Preview{}, err
	}
	p := Preview{Listed: len(drop.keys) + drop.leftOut, Deletes: r.deletesAtOnce()}
	if r.account.Access == config.FromNowOn && !baseline {
		p.Known = len(drop.keys)
		return p, nil
	}
	plan := makePlan(drop.keys, drop.states, rulesOf(r.account), r.Now())
	p.Known, p.ToDelete, p.TooLarge, p.Waiting, p.SetAside = plan.known, len(plan.remove), len(plan.tooLarge), len(plan.waiting), len(plan.setAside)
	for _, indices := range [][]int{plan.fetch, plan.suspects} {
		p.ToFetch += len(indices)
		for _, index := range indices {
			p.FetchBytes += drop.listing[index].Size
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
