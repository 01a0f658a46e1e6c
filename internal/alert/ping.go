package alert

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// pinger tells a service such as healthchecks.io of runs, so that it notices when none come any more. The address may hold
// {account}: then each account has a check of its own. Otherwise all share one, that is well as long as none is in trouble.
type pinger struct {
	address string
	client  *http.Client
	log     *slog.Logger
	shared  bool // by several accounts

	mu      sync.Mutex
	waiting []knock
	failed  bool // the last one did; said once
	more    chan<- struct{}
}

// knock is one request to come.
type knock struct {
	account, event, text string
}

// maxWaiting bounds what is still to be sent: more than that is old, and the next run says it anew.
const maxWaiting = 256

// placeholder in a ping's address is replaced by the account's name.
const placeholder = "{account}"

// newPinger returns a pinger that says on more when there is something to send.
func newPinger(p config.Ping, accounts int, client *http.Client, log *slog.Logger, more chan struct{}) *pinger {
	address := string(p.URL)
	return &pinger{address: address, client: client, log: log, shared: accounts > 1 && !strings.Contains(address, placeholder), more: more}
}

// began tells of the beginning of a run, where a check is of one account.
func (p *pinger) began(account string) {
	if !p.shared {
		p.add(knock{account: account, event: "start"})
	}
}

// ended tells of the end of a run. A failure that may pass says nothing: when successes stay away for too long the service
// notices by itself, and that is what it is for. wrong names the accounts that are in trouble.
func (p *pinger) ended(r fetch.Report, wrong []string) {
	switch {
	case r.Err != nil && fails(r.Err):
		p.add(knock{account: r.Account, event: "fail", text: oneLine(r.Err.Error())})
	case r.Err != nil:
	case p.shared && len(wrong) > 0:
		p.add(knock{account: r.Account, event: "fail", text: "in trouble: " + strings.Join(wrong, ", ")})
	default:
		p.add(knock{account: r.Account, event: ""})
	}
}

func (p *pinger) add(k knock) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) >= maxWaiting {
		p.waiting = p.waiting[1:]
	}
	p.waiting = append(p.waiting, k)
	select {
	case p.more <- struct{}{}:
	default:
	}
}

func (p *pinger) next() (knock, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		return knock{}, false
	}
	k := p.waiting[0]
	p.waiting = p.waiting[1:]
	return k, true
}

// flush sends what waits, one after the other.
func (p *pinger) flush(ctx context.Context) {
	for ctx.Err() == nil {
		k, ok := p.next()
		if !ok {
			return
		}
		p.note(p.send(ctx, k))
	}
}

// note logs the first failure of a row.
func (p *pinger) note(err error) {
	if err != nil && !p.failed {
		p.log.Warn("a ping could not be sent", "error", err)
	}
	p.failed = err != nil
}

// pingPause is before the second try: what is wrong for a moment is not to be taken for a missed run.
const pingPause = 3 * time.Second

func (p *pinger) send(ctx context.Context, k knock) error {
	err := p.knock(ctx, k)
	if err == nil || ctx.Err() != nil {
		return err
	}
	pause := time.NewTimer(pingPause)
	defer pause.Stop()
	select {
	case <-pause.C:
		return p.knock(ctx, k)
	case <-ctx.Done():
		return err
	}
}

func (p *pinger) knock(ctx context.Context, k knock) error {
	address, err := p.at(k)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	return post(ctx, p.client, address, header, []byte(k.text))
}

// at is the address of an event: below the path, and before the query.
func (p *pinger) at(k knock) (string, error) {
	u, err := url.Parse(strings.ReplaceAll(p.address, placeholder, url.PathEscape(k.account)))
	if err != nil {
		return "", withoutAddress(err)
	}
	if k.event != "" {
		u = u.JoinPath(k.event)
	}
	return u.String(), nil
}

// try asks for the address of success, of each account where they have their own.
func (p *pinger) try(ctx context.Context, accounts []string) error {
	if !strings.Contains(p.address, placeholder) {
		accounts = []string{""}
	}
	var errs []error
	for _, account := range accounts {
		errs = append(errs, p.knock(ctx, knock{account: account}))
	}
	return errors.Join(errs...)
}
