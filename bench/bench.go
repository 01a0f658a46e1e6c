package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/popfetchd/popfetchd/test/dovecot"
)

// longRun is what makes one measurement of a program enough.
const longRun = 20 * time.Second

// bench is one run of the benchmark.
type bench struct {
	dir      string
	rounds   int
	programs []program
	server   *dovecot.Server
	filled   map[string]int64 // bytes of the mailboxes that exist, by user
	runs     int              // folders used so far
}

// result is what one program took for one job.
type result struct {
	job     job
	program string
	samples []sample
	failed  error // why there are no more samples
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// measure runs the programs in turn, as often as asked for.
func (b *bench) measure(ctx context.Context, j job) ([]result, error) {
	if err := b.fill(j.mail); err != nil {
		return nil, err
	}
	port := int(b.server.POP3S)
	if j.delay > 0 {
		relay, err := startRelay(b.server.POP3S.Addr(), j.delay)
		if err != nil {
			return nil, err
		}
		defer relay.Close()
		port = relay.Addr().(*net.TCPAddr).Port
	}
	var results []result
	var runners []runner
	for _, p := range b.programs {
		if p.name == bareName && j.slowDisk {
			continue // it has no disk
		}
		r, err := b.runner(ctx, p, j, port)
		runners = append(runners, r)
		results = append(results, result{job: j, program: p.name, failed: err})
	}
	for range b.rounds {
		for i, run := range runners {
			if results[i].complete() {
				continue
			}
			s, err := run()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			results[i].add(s, err)
			b.progress("%s", results[i])
		}
	}
	return results, nil
}

// complete says that the program should not run again.
func (r result) complete() bool {
	return r.failed != nil || len(r.samples) > 0 && r.samples[0].Took > longRun
}

func (r *result) add(s sample, err error) {
	if err != nil {
		r.failed = err
		return
	}
	r.samples = append(r.samples, s)
}

// String is a line about the latest run.
func (r result) String() string {
	line := fmt.Sprintf("%-45s %-10s ", r.job.title, r.program)
	if r.failed != nil {
		return line + "failed: " + r.failed.Error()
	}
	return line + fmt.Sprintf("%8.3f s", r.samples[len(r.samples)-1].Took.Seconds())
}

// runner does a job once and measures it.
type runner func() (sample, error)

func (b *bench) runner(ctx context.Context, p program, j job, port int) (runner, error) {
	switch {
	case p.name == bareName:
		return func() (sample, error) {
			v := b.visit(j, "")
			v.port = port
			return measureBare(v, !j.poll)
		}, nil
	case j.poll:
		dir, err := b.freshDir()
		if err != nil {
			return nil, err
		}
		v := b.visit(j, dir)
		b.progress("%s fetches %d messages, to know them", p.name, v.count)
		if _, err := b.fetch(ctx, p, j, v); err != nil {
			return nil, err
		}
		return func() (sample, error) { return b.fetch(ctx, p, j, v) }, nil
	}
	return func() (sample, error) {
		// What earlier runs wrote stays until the end: for minutes after many files were removed, ext4 without a journal
		// is slow to make new ones, and the next program would pay for it.
		dir, err := b.freshDir()
		if err != nil {
			return sample{}, err
		}
		v := b.visit(j, dir)
		v.port = port
		return b.fetch(ctx, p, j, v)
	}, nil
}

// fetch runs a program once, with the disk at rest, and checks what it stored.
func (b *bench) fetch(ctx context.Context, p program, j job, v visit) (sample, error) {
	argv, err := p.configure(p, v)
	if err != nil {
		return sample{}, err
	}
	if j.slowDisk {
		argv = slowFlushes(argv)
	}
	syscall.Sync()
	s, err := measureCommand(ctx, argv)
	if err != nil {
		return sample{}, err
	}
	if j.slowDisk {
		s.Peak = 0 // it would be strace's
	}
	return s, checkStored(j.store, v.path, j.mail, b.filled[j.mail.user])
}

// visit describes a run of the job in dir, without delay.
func (b *bench) visit(j job, dir string) visit {
	return visit{
		host: "127.0.0.1", port: int(b.server.POP3S), caFile: b.server.CAFile,
		user: j.mail.user, count: j.mail.count, dir: dir, store: j.store, path: filepath.Join(dir, "mail"),
	}
}

func (b *bench) freshDir() (string, error) {
	b.runs++
	dir := filepath.Join(b.dir, fmt.Sprintf("run-%d", b.runs))
	return dir, os.Mkdir(dir, 0o700)
}
