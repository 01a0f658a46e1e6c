package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/fetch"
)

// soon is how long before its end a certificate is worth a word.
const soon = 14 * 24 * time.Hour

// online is what `check --online` found at the server. What the server chose
// itself is escaped.
type online struct {
	Address      string       `json:"address"`
	TLSVersion   string       `json:"tls_version"`
	CipherSuite  string       `json:"cipher_suite"`
	Certificate  *certificate `json:"certificate"` // null without TLS
	Capabilities []string     `json:"capabilities"`
	Pipelined    bool         `json:"pipelined"`
	Messages     int          `json:"messages"`
	Octets       int64        `json:"octets"`
	Would        preview      `json:"would"`              // what --once would do now
	Settings     *popSettings `json:"settings,omitempty"` // Gmail's own, beside the file's
}

// certificate is the server's own.
type certificate struct {
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Names   []string  `json:"names"`
	Expires time.Time `json:"expires"`
	SHA256  string    `json:"sha256"`
}

// goOnline logs in and notes what is there, at Gmail also how it is set.
func (c *accountChecked) goOnline(ctx context.Context, f *fetch.Fetcher, file *config.Config) {
	i, err := f.Inspect(ctx, c.settings)
	if err != nil {
		c.add(err)
		return
	}
	c.Online = &online{
		Address:      i.Address,
		TLSVersion:   i.TLSVersion,
		CipherSuite:  i.CipherSuite,
		Certificate:  newCertificate(i),
		Capabilities: []string{},
		Pipelined:    i.Pipelined,
		Messages:     i.Messages,
		Octets:       i.Octets,
		Would:        newPreview(c.settings, i.Preview, nil),
	}
	for _, capability := range i.Capabilities {
		c.Online.Capabilities = append(c.Online.Capabilities, oneLine(capability))
	}
	if !c.settings.Preset().Windowed {
		return
	}
	line, err := settingsOf(ctx, file, c.settings, false)
	if err != nil { // mail comes all the same, so this is no reason to fail
		c.Warnings = append(c.Warnings, oneLine(err.Error()))
	}
	c.Online.Settings = &line.popSettings
}

func newCertificate(i fetch.Inspection) *certificate {
	if i.Certificate == nil {
		return nil
	}
	c := &certificate{
		Subject: oneLine(i.Certificate.Subject.String()),
		Issuer:  oneLine(i.Certificate.Issuer.String()),
		Names:   []string{},
		Expires: i.Certificate.NotAfter.UTC(),
		SHA256:  hex.EncodeToString(i.Fingerprint[:]),
	}
	for _, name := range i.Certificate.DNSNames {
		c.Names = append(c.Names, oneLine(name))
	}
	for _, ip := range i.Certificate.IPAddresses {
		c.Names = append(c.Names, ip.String())
	}
	return c
}

// printOnline prints for people what was found.
func (a *app) printOnline(account config.Account, o *online) {
	if o.TLSVersion == "" {
		a.printField("logged in", "without TLS")
	} else {
		a.printField("logged in", fmt.Sprintf("%s, %s", o.TLSVersion, o.CipherSuite))
	}
	if c := o.Certificate; c != nil {
		a.printField("cert", fmt.Sprintf("%s, for %s", c.Subject, strings.Join(c.Names, " ")))
		a.printField("", "issued by "+c.Issuer)
		a.printField("", expiry(c.Expires, time.Now()))
		a.printField("", "sha256 "+c.SHA256)
	}
	if len(o.Capabilities) > 0 {
		a.printField("can", strings.Join(o.Capabilities, ", "))
	}
	way := "one message at a time"
	if o.Pipelined {
		way = "pipelined"
	}
	a.printField("there", fmt.Sprintf("%s, %s; retrieval is %s", plural(o.Messages, "message"), size(o.Octets), way))
	a.printField("now", o.Would.words())
	if o.Settings != nil {
		a.printPopSettings(account, o.Settings)
	}
}

// expiry says until when a certificate is good, and warns when that is soon.
func expiry(end, now time.Time) string {
	s := "valid until " + end.Local().Format("2 Jan 2006")
	if left := end.Sub(now); left < soon {
		s += fmt.Sprintf(" - only %s left", plural(int(left.Hours()/24), "day"))
	}
	return s
}
