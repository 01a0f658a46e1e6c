package web

import (
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The metrics that docs/monitoring.md documents. Times are Unix time in seconds; what has not happened yet has no sample.
var (
	buildInfo = describe("build_info", "Always 1; the labels say which popfetchd runs.", "version", "goversion")
	accounts  = describe("accounts", "Accounts in the configuration in force.")

	lastSuccess = describe("last_success_timestamp_seconds", "End of the last run that went well.", "account")
	lastAttempt = describe("last_attempt_timestamp_seconds", "End of the last run.", "account")
	nextRunAt   = describe("next_run_timestamp_seconds", "When the next run is due.", "account")
	running     = describe("running", "1 while a run is under way.", "account")
	failing     = describe("consecutive_failures", "Runs that failed since the last one that went well.", "account")
	runs        = describe("runs_total", "Runs that ended since popfetchd was started.", "account")

	storedMessages = describe("stored_messages_total", "Messages stored here so far, by the ledger.", "account")
	storedBytes    = describe("stored_bytes_total", "Size of the messages stored here so far, by the ledger.", "account")
	backlogged     = describe("backlog_messages", "Messages known to wait on the server.", "account")
	pending        = describe("pending_deletions", "Deletions that the server has not confirmed.", "account")
	heldBack       = describe("held_back_deletions", "Deletions held back, since the copy here is not as it was stored.", "account")
	setAside       = describe("set_aside_messages", "Messages given up on until someone looks.", "account")
	received       = describe("received_day_bytes", "Received from the server within the last 24 hours.", "account")
	dailyLimit     = describe("daily_limit_bytes", "What may be received within 24 hours; no sample without a limit.", "account")
	heldUntil      = describe("held_until_timestamp_seconds", "Until when the account is left alone; no sample when it is not.", "account", "reason")
	alertAfter     = describe("alert_after_seconds", "After how long without success an alert is raised; no sample when never.", "account")
	incidentSince  = describe("incident_since_timestamp_seconds", "Since when an incident goes on; no sample when there is none.", "account", "kind")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("popfetchd_"+name, help, labels, nil)
}

// metrics answers in Prometheus' format.
func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelError), MaxRequestsInFlight: 4, Timeout: 30 * time.Second,
	})
}

// collector reads the metrics when they are asked for. It implements prometheus.Collector.
type collector struct{ *Server }

// Describe sends what Collect may send.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, accounts, lastSuccess, lastAttempt, nextRunAt, running, failing, runs, storedMessages, storedBytes,
		backlogged, pending, heldBack, setAside, received, dailyLimit, heldUntil, alertAfter, incidentSince} {
		to <- d
	}
}

// Collect sends every metric.
func (c collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	at := func(d *prometheus.Desc, t time.Time, labels ...string) {
		if !t.IsZero() {
			gauge(d, float64(t.Unix()), labels...)
		}
	}
	counter := func(d *prometheus.Desc, value float64, account string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, account)
	}
	now, states := c.Now(), c.States()
	gauge(buildInfo, 1, c.Version, runtime.Version())
	gauge(accounts, float64(len(states)))
	for _, state := range states {
		name := state.Account.Name
		f, err := c.figuresOf(state, now)
		if err != nil {
			to <- prometheus.NewInvalidMetric(lastSuccess, err)
			return
		}
		at(lastSuccess, f.LastSuccess, name)
		at(lastAttempt, f.LastAttempt, name)
		at(nextRunAt, state.Next, name)
		gauge(running, truth(state.Running), name)
		gauge(failing, float64(f.ConsecutiveFailures), name)
		counter(runs, float64(state.Runs), name)
		counter(storedMessages, float64(f.Messages), name)
		counter(storedBytes, float64(f.Bytes), name)
		waiting, _ := backlog(state, f)
		gauge(backlogged, float64(waiting), name)
		gauge(pending, float64(f.PendingDelete), name)
		gauge(heldBack, float64(f.HeldBack), name)
		gauge(setAside, float64(f.SetAside), name)
		gauge(received, float64(f.Received), name)
		if limit := state.Account.DailyLimit; limit > 0 {
			gauge(dailyLimit, float64(limit), name)
		}
		if hold := f.activeHold(now); !hold.IsZero() {
			at(heldUntil, hold.Until, name, string(hold.Reason))
		}
		if after := state.Account.AlertAfter; after > 0 {
			gauge(alertAfter, after.Seconds(), name)
		}
	}
	incidents, err := c.Ledger.Incidents()
	if err != nil {
		to <- prometheus.NewInvalidMetric(incidentSince, err)
		return
	}
	for _, i := range incidents {
		at(incidentSince, i.Since, i.Account, i.Kind)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
