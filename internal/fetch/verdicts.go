package fetch

import (
	"errors"
	"time"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
)

// maxAttempts is how often a message is asked for that the server refuses, before it is set aside.
const maxAttempts = 5

// longestWait is how long a message waits after maxAttempts-1 refusals, the longest there is.
const longestWait = time.Minute << (maxAttempts - 2)

// maxRefusals is how many messages in a row a server may refuse before the fault is taken to be the server's, not the
// messages': a quota that is used up refuses everything.
const maxRefusals = 10

// verdicts says for each message that did not arrive whose fault it was, and when to try again.
type verdicts struct {
	run      *run
	failures []ledger.Failure
	inARow   int // refusals at the end of failures
	stop     *interruption
}

// lostSession is the end of a session over a message that is on record for it: the others have another session.
type lostSession struct {
	key    ledger.Key
	retry  bool // it has another try at once
	number int  // of the message, in that session; see suspect
	error
}

func (e *lostSession) Unwrap() error { return e.error }

// judge takes the outcome of one message. An error means that the session is of no more use.
func (v *verdicts) judge(key ledger.Key, before *ledger.Failure, outcome error) error {
	if outcome == nil {
		v.inARow = 0
		return nil
	}
	var reply *pop3.ReplyError
	switch refused := errors.As(outcome, &reply); {
	case refused && v.stop != nil:
		return nil
	case v.stop != nil && !errors.Is(outcome, errOutOfStep): // it hung up, as it had said: no message's fault
		return v.stop.error // without QUIT
	case refused && (v.run.forAll(reply) || v.inARow == maxRefusals):
		v.failures = v.failures[:len(v.failures)-v.inARow]
		v.inARow = 0
		v.putLast(key, before, reply)
		if v.run.windowed() { // what is stored counts there as taken when the session ends well
			v.stop = &interruption{outcome}
			return nil
		}
		return outcome
	case refused:
		v.inARow++
		v.record(key, before, ledger.Refused, reply.Error())
		v.run.log.Warn("the server refused a message; the others go on", "uid", key.UID, "size", key.ListedSize, "reply", reply.Error())
		return nil
	case errors.Is(outcome, errOutOfStep):
		v.failures = nil // refusals may have been the answers to other questions, too
		return &lostSession{key: key, retry: true, error: outcome}
	case errors.Is(outcome, pop3.ErrMessageTooLarge):
		v.failures = append(v.failures, ledger.Failure{Key: key, Reason: ledger.Refused, Attempts: maxAttempts,
			Error: "larger than max_message_size, although it was not listed so"})
		v.run.log.Warn("a message is larger than max_message_size, although it was not listed so: set aside", "uid", key.UID, "listed", key.ListedSize)
	default:
		v.record(key, before, ledger.Broken, outcome.Error())
	}
	return &lostSession{key: key, retry: v.failures[len(v.failures)-1].NextAt.Equal(v.run.began), error: outcome}
}

// putLast has a message that a window begins with, and that the server cannot give now, come after the others next time: should
// it be about this one alone, it would hold them up for as long as that lasts.
func (v *verdicts) putLast(key ledger.Key, before *ledger.Failure, reply *pop3.ReplyError) {
	if !v.run.windowed() || reply.Code != "SYS/TEMP" {
		return
	}
	f := ledger.Failure{Key: key, Reason: ledger.Broken, Attempts: 1, Error: reply.Error(), NextAt: v.run.began}
	if before != nil {
		f.Attempts = min(before.Attempts, maxAttempts-1)
	}
	v.failures = append(v.failures, f)
}

// record notes one more failure of a message: it is tried again after 1, 2, 4 and 8 minutes, then set aside. One over
// which the connection broke for the first time has another try at once, in a session of its own: it may have been the line.
func (v *verdicts) record(key ledger.Key, before *ledger.Failure, reason ledger.Reason, problem string) {
	f := ledger.Failure{Key: key, Reason: reason, Attempts: 1, Error: problem}
	if before != nil && before.Reason == reason {
		f.Attempts = before.Attempts + 1
	}
	waits := f.Attempts
	if reason == ledger.Broken {
		waits--
	}
	switch {
	case f.Attempts == maxAttempts:
		v.run.log.Warn("a message failed too often: set aside, until popfetchd retry takes it up again", "uid", key.UID, "size", key.ListedSize, "reason", problem)
	case waits == 0:
		f.NextAt = v.run.began
	default:
		f.NextAt = v.run.Now().Add(time.Minute << (waits - 1))
	}
	v.failures = append(v.failures, f)
}
