package fetch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/popfetchd/popfetchd/internal/ledger"
	"github.com/popfetchd/popfetchd/internal/pop3"
)

// errOutOfStep ends a pipelined session in which a reply may have been taken for the answer to another question. The run
// goes on with sessions that ask one question at a time.
var errOutOfStep = errors.New("the server's answers do not fit the questions: it is asked one at a time from now on")

// receive streams the wanted messages into the delivery, portion by portion, and returns which failed, and why.
func (r *run) receive(ctx context.Context, session *pop3.Session, drop *maildrop, wanted []int, d *delivery) ([]ledger.Failure, error) {
	verdicts := verdicts{run: r}
	rest := wanted
	for len(rest) > 0 && verdicts.stop == nil {
		portion, err := r.portion(drop, rest)
		if err != nil {
			return verdicts.failures, d.fail(err)
		}
		if len(portion) == 0 {
			r.leave(len(rest))
			break
		}
		rest = rest[len(portion):]
		before := r.progress.Bytes
		err = r.receivePortion(ctx, session, drop, portion, wanted, d, &verdicts)
		if trouble := r.settlePortion(r.progress.Bytes - before); trouble != nil {
			return verdicts.failures, d.fail(trouble)
		}
		if err != nil {
			return verdicts.failures, err
		}
		if d.isFull() {
			if err := r.endInStep(session, drop, portion, d); err != nil {
				return nil, err
			}
			if err := d.handOverFull(ctx); err != nil {
				return verdicts.failures, err
			}
		}
	}
	if err := r.endInStep(session, drop, wanted[:len(wanted)-len(rest)], d); err != nil {
		return nil, err // refusals may have been the answers to other questions, too
	}
	if verdicts.stop != nil {
		return verdicts.failures, verdicts.stop
	}
	return verdicts.failures, nil
}

// receivePortion streams messages that are asked for in one go. What a pipelined session brought since its answers were last
// known to be in step counts for nothing once they turn out not to be: a message may have had the right length by chance.
func (r *run) receivePortion(ctx context.Context, session *pop3.Session, drop *maildrop, portion, wanted []int, d *delivery, verdicts *verdicts) error {
	next := 0
	for message := range session.Retrieve(drop.numbers(portion)) {
		index := portion[next]
		next++
		r.asked++
		if verdicts.stop == nil {
			r.doing = fmt.Sprintf("receiving message %d of %d", r.asked, r.wanted)
		}
		err := message.Err
		if err == nil {
			err = r.take(ctx, session, drop, index, &incoming{run: r, message: message}, d)
		}
		if err == nil && (!session.Pipelined() || telling(drop, wanted, r.asked-1)) {
			err = d.handOverFull(ctx)
		}
		if broken := (*pop3.ProtocolError)(nil); errors.As(err, &broken) && session.Pipelined() {
			r.plain = true
			err = fmt.Errorf("%w (%w)", errOutOfStep, err)
		}
		if errors.Is(err, errOutOfStep) {
			err = cmp.Or(d.doubt(), err)
		}
		if ctx.Err() != nil || d.err != nil {
			return cmp.Or(d.err, context.Cause(ctx)) // no message's fault
		}
		if err := verdicts.judge(drop.keys[index], drop.states[index].Failure, err); err != nil {
			return err
		}
		if err == nil {
			r.progress.Messages++
			r.tell(Retrieving)
		}
	}
	return nil
}

// errNothing is an answer to RETR without a single octet, for a message that has some.
var errNothing = errors.New("the server sent nothing of it")

// take receives one message and makes sure that it ended where it seemed to.
func (r *run) take(ctx context.Context, session *pop3.Session, drop *maildrop, index int, in *incoming, d *delivery) error {
	added, err := d.add(ctx, index, drop.keys[index], in)
	if err != nil {
		return err
	}
	if err := r.prove(session, drop.listing[index], in); err != nil {
		return cmp.Or(d.drop(added), err)
	}
	return nil
}

// neighbours is by how many questions the answers may be out of step without a length that tells being taken for right.
const neighbours = 8

// telling says that a message that came with its listed length is the answer to its own question: those asked for around it
// have other lengths.
func telling(drop *maildrop, wanted []int, at int) bool {
	for i := max(0, at-neighbours); i < min(len(wanted), at+neighbours+1); i++ {
		if i != at && drop.listing[wanted[i]].Size == drop.listing[wanted[at]].Size {
			return false
		}
	}
	return true
}

// prove makes sure that a message ended where it seemed to. A server that does not stuff a line with a single dot seems to
// end the message there, and what follows looks like replies; one that sends an answer too many, or a message without an
// end, makes a message out of several replies. All of that shows in the length, which servers list exactly, or with line
// ends counted as one. Where one listed another length, a message that is longer may pass when each question waits for its
// answer; one that is shorter has to be followed by the right answer to another question.
func (r *run) prove(session *pop3.Session, listed pop3.Entry, in *incoming) error {
	switch {
	case in.octets == listed.Size, in.octets-in.lines == listed.Size:
		return nil
	case session.Pipelined():
		r.plain = true
		return errOutOfStep
	case in.octets > listed.Size:
		return nil
	case in.octets == 0:
		return errNothing
	}
	return session.InStep(listed)
}

// endInStep makes sure, before a batch of a pipelined session is committed, that no answer is left over: then those before it
// would be answers to other questions than they seemed to be.
func (r *run) endInStep(session *pop3.Session, drop *maildrop, asked []int, d *delivery) error {
	if !session.Pipelined() || len(asked) == 0 {
		return nil
	}
	broken := (*pop3.ProtocolError)(nil)
	last := asked[len(asked)-1]
	if err := session.InStep(drop.listing[last]); !errors.As(err, &broken) {
		return nil // in step, or the line was cut, which finish will find out
	}
	r.plain = true
	return cmp.Or(d.doubt(), error(&lostSession{key: drop.keys[last], retry: true, error: errOutOfStep}))
}

// incoming is a message on its way in. It counts, for the progress, and to be held against what was listed.
type incoming struct {
	run           *run
	message       io.Reader
	octets, lines int64 // lines that end in CRLF: a bare LF is one octet to everybody
	cr            bool  // the last octet is a CR
}

func (in *incoming) Read(p []byte) (int, error) {
	n, err := in.message.Read(p)
	in.octets += int64(n)
	in.lines += int64(bytes.Count(p[:n], []byte("\r\n")))
	if n > 0 {
		if in.cr && p[0] == '\n' {
			in.lines++
		}
		in.cr = p[n-1] == '\r'
	}
	in.run.progress.Bytes += int64(n)
	if n == len(p) { // a long message: show that it moves
		in.run.tell(Retrieving)
	}
	return n, err
}
