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
}

// judge takes the outcome of one message. An error means that the session is of no more use.
func (v *verdicts) judge(key ledger.Key, before *ledger.Failure, outcome error) error {
	if outcome == nil {
		v.inARow = 0
		return nil
	}
	var reply *pop3.ReplyError
	now := v.run.Now()
	switch {
	case errors.As(outcome, &reply) && (reply.Temporary() || v.inARow == maxRefusals):
		v.failures = v.failures[:len(v.failures)-v.inARow]
		return outcome
	case errors.As(outcome, &reply):
		v.inARow++
		v.failures = append(v.failures, refused(key, before, reply.Error(), now))
		v.run.log.Warn("the server refused a message; the others go on", "uid", key.UID, "size", key.ListedSize, "reply", reply.Error())
		return nil
	case errors.Is(outcome, errUnstuffed):
		v.failures = append(v.failures, refused(key, before, outcome.Error(), now))
		return outcome
	case errors.Is(outcome, pop3.ErrMessageTooLarge):
		v.failures = append(v.failures, ledger.Failure{Key: key, Reason: ledger.Refused, Attempts: maxAttempts,
			Error: "larger than max_message_size, although it was not listed so"})
		v.run.log.Warn("a message is larger than max_message_size, although it was not listed so: set aside", "uid", key.UID, "listed", key.ListedSize)
		return outcome
	default:
		v.failures = append(v.failures, broken(key, before, outcome, now))
		return outcome
	}
}

// refused is the record of one more refusal: tried again after 1, 2, 4, 8 minutes, then set aside.
func refused(key ledger.Key, before *ledger.Failure, reason string, now time.Time) ledger.Failure {
	f := ledger.Failure{Key: key, Reason: ledger.Refused, Attempts: attempts(before, ledger.Refused), Error: reason}
	if f.Attempts < maxAttempts {
		f.NextAt = now.Add(time.Minute << (f.Attempts - 1))
	}
	return f
}

// broken is the record of a message over which the connection broke: tried again in a session of its own, after all
// others, so that one that a server cannot send holds up no other. It is never set aside: it may have been the line.
func broken(key ledger.Key, before *ledger.Failure, err error, now time.Time) ledger.Failure {
	return ledger.Failure{Key: key, Reason: ledger.Broken, Attempts: attempts(before, ledger.Broken), Error: err.Error(), NextAt: now}
}

func attempts(before *ledger.Failure, reason ledger.Reason) int {
	if before != nil && before.Reason == reason {
		return before.Attempts + 1
	}
	return 1
}
