package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/popfetchd/popfetchd/internal/popsim"
	"github.com/popfetchd/popfetchd/test/forgetful"
	"github.com/popfetchd/popfetchd/test/program"
)

// outage is a run whose power is to be cut: what the disk and the server hold before it. Configuration, state and mail are all on
// the disk. What the server did stays done.
type outage struct {
	account program.Account
	policy  string
	disk    *forgetful.Disk
	server  *popsim.Server
	drop    *popsim.Account
	mail    []popsim.Message
	want    program.Contents // of the mailbox in the end
}

// The power is cut at every change of the disk. Then it comes back, and popfetchd is run again: every message is there
// once, the server has what the policy says, and nothing lies about.
func TestPowerCut(t *testing.T) {
	for _, kind := range []string{"maildir", "mbox"} {
		for _, policy := range []string{"keep", "delete"} {
			t.Run(kind+"/"+policy+"/first run", func(t *testing.T) {
				t.Parallel()
				newOutage(t, kind, policy, powerMail(6)).cutEverywhere(t, 3)
			})
			t.Run(kind+"/"+policy+"/second run", func(t *testing.T) {
				t.Parallel()
				o := newOutage(t, kind, policy, powerMail(3))
				o.settle(t, powerMail(7)[3:])
				o.cutEverywhere(t, 3)
			})
		}
	}
}

// The same with so many messages that they go ways of their own: a Maildir does not keep all its files open until they are
// flushed, and leaves them to syncfs where that is sound, which it is not here; what goes to an mbox makes two batches, and
// the second one is received while the first is being committed.
func TestPowerCutOfMany(t *testing.T) {
	for kind, messages := range map[string]int{"maildir": 40, "mbox": 1003} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := newOutage(t, kind, "delete", nil)
			o.settle(t, tinyMail(messages))
			o.cutSomewhere(t, 2, 60)
		})
	}
}

// powerMail is small mail, but for each fourth message.
func powerMail(n int) []popsim.Message {
	all := make([]popsim.Message, n)
	for i := range all {
		body := fmt.Sprintf("Subject: %d\r\n\r\nFrom here on\r\n\r\n.\r\n>From there on, number %d\r\n", i, i)
		if i%4 == 2 {
			body += strings.Repeat(fmt.Sprintf("%070d\r\n", i), 4000)
		}
		all[i] = popsim.Message{UID: fmt.Sprintf("power-%d", i), Body: []byte(body)}
	}
	return all
}

func tinyMail(n int) []popsim.Message {
	all := make([]popsim.Message, n)
	for i := range all {
		all[i] = popsim.Message{UID: fmt.Sprintf("tiny-%d", i), Body: fmt.Appendf(nil, "Subject: %d\r\n\r\nText.\r\n", i)}
	}
	return all
}

// newOutage is the first run of an account.
func newOutage(t *testing.T, kind, policy string, mail []popsim.Message) *outage {
	t.Helper()
	o := &outage{policy: policy, disk: forgetful.New(), want: program.Contents{}}
	o.server, o.drop = program.Serve(t, popsim.Config{Mode: popsim.NoTLS}, slices.Values(mail))
	o.await(mail)
	dir := t.TempDir()
	m := o.disk.Mount(t, dir)
	o.account = program.In(t, dir, kind, append(program.AtSim(t, o.server, popsim.NoTLS), "policy: "+policy)...)
	if kind == "mbox" { // its folder is a mail spool; that of the Maildir has to be made
		if err := os.Mkdir(filepath.Dir(o.account.Mailbox), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m.Unmount(t)
	o.disk.Flush()
	return o
}

// await notes what the server holds, and adds it to what the mailbox has to hold in the end.
func (o *outage) await(mail []popsim.Message) {
	o.mail = o.drop.Messages()
	for _, m := range mail {
		o.want.AddBytes(m.Stored())
	}
}

// settle does the first run, without any fault, and has further mail come in for the second.
func (o *outage) settle(t *testing.T, more []popsim.Message) {
	t.Helper()
	m := o.disk.Mount(t, o.account.Dir)
	o.account.Must(t, "--once")
	m.Unmount(t)
	o.disk.Flush()
	for _, message := range more {
		o.drop.Deliver(message)
	}
	o.await(more)
}

// cutEverywhere cuts the power at every point of the run, or at some of them.
func (o *outage) cutEverywhere(t *testing.T, some int) {
	last := 2 * o.rehearse(t, o.disk, o.mail)
	for _, point := range chosen(t, last+1, some) {
		t.Run(fmt.Sprintf("%d of %d", point, last), func(t *testing.T) { o.cutAt(t, point) })
	}
}

// cutSomewhere cuts the power at some points, and at so many with -full, of a run that is too long for all of them.
func (o *outage) cutSomewhere(t *testing.T, some, most int) {
	if *full {
		some = most
	}
	last := 2 * o.rehearse(t, o.disk, o.mail)
	t.Logf("-seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, uint64(last)))
	for range some {
		point := random.IntN(last + 1)
		t.Run(fmt.Sprintf("%d of %d", point, last), func(t *testing.T) { o.cutAt(t, point) })
	}
}

// rehearse counts the changes of a run that nothing disturbs.
func (o *outage) rehearse(t *testing.T, disk *forgetful.Disk, mail []popsim.Message) int {
	t.Helper()
	o.fill(t, mail)
	m := disk.Clone().Mount(t, o.account.Dir)
	defer m.Unmount(t)
	o.account.Must(t, "--once")
	return m.Changes()
}

// cutAt cuts the power at one point, and goes on from each thing that may be left.
func (o *outage) cutAt(t *testing.T, point int) {
	random := rand.New(rand.NewPCG(*seed, uint64(point)))
	disk := o.disk.Clone()
	mail := o.cut(t, disk, o.mail, point)
	losses := []kindOfLoss{
		{"what was not flushed is gone", forgetful.Loss{}},
		{"what was not flushed is gone, renames are atomic", forgetful.Loss{Journalled: true}},
		someLoss(random),
	}
	for _, l := range losses {
		t.Run(l.name, func(t *testing.T) { o.goOn(t, disk.AfterCut(l.Loss), mail, l.name) })
	}
	if *full || random.IntN(2) == 0 {
		t.Run("and again", func(t *testing.T) {
			disk := disk.AfterCut(losses[random.IntN(len(losses))].Loss)
			mail := o.cut(t, disk, mail, random.IntN(2*o.rehearse(t, disk, mail)+1))
			o.goOn(t, disk.AfterCut(losses[random.IntN(len(losses))].Loss), mail, "and another one in the run that mends")
		})
	}
	if *full || random.IntN(2) == 0 {
		t.Run("after a kill", func(t *testing.T) { o.killThenCut(t, disk, mail, point, random) })
	}
}

// killThenCut takes the first cut for a kill: nothing is lost by it, but what was not flushed then still is not, however it
// looks. The run that mends loses its power, at every other point after its end.
func (o *outage) killThenCut(t *testing.T, disk *forgetful.Disk, mail []popsim.Message, point int, random *rand.Rand) {
	end := 2 * o.rehearse(t, disk, mail)
	if point%2 == 1 {
		end = random.IntN(end + 1)
	}
	mail = o.cut(t, disk, mail, end)
	o.goOn(t, disk.AfterCut(forgetful.Loss{}), mail, "in the run after a kill")
}

// kindOfLoss is what a power cut may leave, with a name.
type kindOfLoss struct {
	name string
	forgetful.Loss
}

func someLoss(random *rand.Rand) kindOfLoss {
	survives := []float64{0.1, 0.5, 0.9, 1}[random.IntN(4)]
	if survives == 1 {
		return kindOfLoss{"all had reached the disk", forgetful.Loss{Survives: 1}}
	}
	return kindOfLoss{"what was not flushed is there in part", forgetful.Loss{Survives: survives, Seed: random.Uint64(), Journalled: random.IntN(2) == 0}}
}

// cut runs popfetchd until the power goes, which may be after its end, and returns what the server holds then. The disk is
// left as it was, before it forgets. At even points the last change was still reported to popfetchd, which has gone on
// until it wanted another; at odd ones it never got to know.
func (o *outage) cut(t *testing.T, disk *forgetful.Disk, mail []popsim.Message, point int) []popsim.Message {
	t.Helper()
	o.fill(t, mail)
	m := disk.Mount(t, o.account.Dir)
	defer m.Unmount(t)
	o.run(t, m, m.CutAfter((point+1)/2, point%2 == 0))
	return o.held(t)
}

// run runs popfetchd to its end, or to that of the power.
func (o *outage) run(t *testing.T, m *forgetful.Mount, cut <-chan struct{}) {
	t.Helper()
	run := o.account.Command("--once")
	var output bytes.Buffer
	run.Stdout, run.Stderr = &output, &output
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("%v\n%s", err, &output)
		}
	case <-cut:
		run.Process.Kill()
		m.Release()
		<-ended
	}
}

// goOn runs popfetchd on what the power cut left, and judges.
func (o *outage) goOn(t *testing.T, disk *forgetful.Disk, mail []popsim.Message, fault string) {
	t.Helper()
	o.fill(t, mail)
	m := disk.Mount(t, o.account.Dir)
	defer m.Unmount(t)
	o.account.Must(t, "--once")
	judge(t, "power cut: "+fault+", "+o.account.Kind, o.account, o.want)
	there := program.Contents{}
	if o.policy == "keep" {
		for _, message := range o.mail {
			there.AddBytes(message.Stored())
		}
	}
	program.Same(t, there, program.HeldBy(t, o.drop))
	if r := o.account.Once(t); r.New != 0 || r.PendingDelete != 0 {
		t.Errorf("the run after: %+v", r)
	}
	o.account.Must(t, "verify", "--read")
	o.account.NoLeftovers(t)
}

// fill has the server hold these messages, and no others.
func (o *outage) fill(t *testing.T, mail []popsim.Message) {
	t.Helper()
	for _, m := range o.held(t) {
		o.drop.Remove(m.UID)
	}
	for _, m := range mail {
		o.drop.Deliver(m)
	}
}

// held is what the server holds when the last session has ended, which takes a moment when its client was killed. To know
// that one has to log in.
func (o *outage) held(t *testing.T) []popsim.Message {
	t.Helper()
	conn, err := net.Dial("tcp", o.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "USER %s\r\nPASS %s\r\n", program.Username, program.Password)
	replies := bufio.NewReader(conn)
	for range 3 {
		if line, err := replies.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK") {
			t.Fatalf("logging in: %q, %v", line, err)
		}
	}
	return o.drop.Messages()
}
