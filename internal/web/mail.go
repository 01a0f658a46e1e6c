package web

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/popfetchd/popfetchd/internal/ledger"
)

// The newest messages are shown by what stands in their headers, read from the mailbox where they were put. What somebody has
// moved or deleted since is not searched for.

// Limits of what is read and shown of a header.
const (
	mostHeader  = 64 << 10
	mostSubject = 200
	mostName    = 80
	mostAddress = 120
)

// letter is a message as the page shows it.
type letter struct {
	Account string
	Size    int64

	Date    time.Time // as the sender says; zero when that is no date
	Name    string    // of the sender
	Address string
	Subject string
	Gone    bool // it is not where it was stored: nothing is known of it but what the ledger says

	stored ledger.Message
}

// When is the message's date, or when it was stored if it has none.
func (l letter) When() time.Time {
	if l.Date.IsZero() {
		return l.stored.StoredAt
	}
	return l.Date
}

// Moment is When for people.
func (l letter) Moment(now time.Time) string { return moment(l.When(), now) }

// errNotThere says that something else, or nothing, is where a message was stored.
var errNotThere = errors.New("the message is not where it was stored")

// openHeader opens a stored message for its header to be read.
func openHeader(m ledger.Message) (io.ReadCloser, error) {
	if m.Name != "" {
		return openInMaildir(m.Mailbox, m.Name)
	}
	return openInMbox(m)
}

// flags are those that mail readers append to a file's name in cur/, in the order they have there.
const flags = "DFPRST"

// openInMaildir opens a message that lies in new/, or in cur/ with any flags of the Maildir format. These names are tried one by one:
// to list a folder of a hundred thousand files would take longer.
func openInMaildir(folder, name string) (io.ReadCloser, error) {
	f, err := openRegular(filepath.Join(folder, "new", name))
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	for _, info := range append([]string{"", ":2,S", ":2,RS"}, allFlags()...) {
		f, err = openRegular(filepath.Join(folder, "cur", name+info))
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, errNotThere
}

func allFlags() []string {
	all := []string{":2,"}
	for _, flag := range flags {
		for _, info := range all {
			all = append(all, info+string(flag))
		}
	}
	return all
}

// openRegular opens a file, if that is what stands there.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errNotThere
	}
	return f, nil
}

// openInMbox opens a message that still stands where it was appended: a From_ line there, and the file's end or another one behind it.
func openInMbox(m ledger.Message) (io.ReadCloser, error) {
	f, err := openRegular(m.Mailbox)
	if err != nil {
		return nil, err
	}
	if !standsAt(f, m.Offset) || !standsAt(f, m.Offset+m.Length) {
		f.Close()
		return nil, errNotThere
	}
	message := bufio.NewReader(io.NewSectionReader(f, m.Offset, m.Length))
	if _, err := message.ReadSlice('\n'); err != nil {
		f.Close()
		return nil, errNotThere
	}
	return struct {
		io.Reader
		io.Closer
	}{message, f}, nil
}

// standsAt tells whether a From_ line begins at a place of an mbox, or the file ends there.
func standsAt(f *os.File, at int64) bool {
	const mark = "From "
	if info, err := f.Stat(); err != nil || at == info.Size() {
		return err == nil
	}
	begin := make([]byte, len(mark))
	_, err := f.ReadAt(begin, at)
	return err == nil && string(begin) == mark
}

// readLetter reads what the page shows of a message.
func readLetter(account string, m ledger.Message) letter {
	l := letter{Account: account, Size: m.Size, stored: m}
	r, err := openHeader(m)
	if err != nil {
		l.Gone = true
		return l
	}
	defer r.Close()
	l.fill(readHeader(r))
	return l
}

// header is the first field of each name that matters; the rest of a header may be as broken as it likes.
type header map[string]string

// readHeader reads a header's fields From, Subject, Date and Content-Type, unfolded (RFC 5322 section 2.2.3), until it ends.
func readHeader(r io.Reader) header {
	lines := bufio.NewReader(io.LimitReader(r, mostHeader))
	h, last := header{}, ""
	for {
		line, err := lines.ReadBytes('\n')
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h
		}
		if line[0] == ' ' || line[0] == '\t' {
			if last != "" {
				h[last] += string(line)
			}
		} else {
			last = h.begin(string(line))
		}
		if err != nil {
			return h
		}
	}
}

// begin takes a field's first line, and returns its name if what follows belongs to it.
func (h header) begin(line string) string {
	name, value, _ := strings.Cut(line, ":")
	name = strings.ToLower(strings.TrimRight(name, " \t"))
	switch name {
	case "from", "subject", "date", "content-type":
		if _, seen := h[name]; !seen {
			h[name] = value
			return name
		}
	}
	return ""
}

// fill takes over what the header says, decoded.
func (l *letter) fill(h header) {
	charset := ""
	if _, parameters, err := mime.ParseMediaType(h["content-type"]); err == nil {
		charset = parameters["charset"]
	}
	l.Subject = visible(decodeWords(h["subject"], charset), mostSubject)
	l.Name, l.Address = sender(h["from"], charset)
	if date, err := mail.ParseDate(strings.TrimSpace(h["date"])); err == nil {
		l.Date = date
	}
}

// sender takes a From field apart: the name to show, and the address if there is one besides it.
func sender(field, charset string) (name, address string) {
	// Parsed before it is decoded: a name may decode to what looks like an address.
	if list, err := (&mail.AddressParser{WordDecoder: keepWords}).ParseList(field); err == nil && len(list) > 0 {
		name, address = visible(decodeWords(list[0].Name, charset), mostName), visible(list[0].Address, mostAddress)
	} else if open := strings.LastIndexByte(field, '<'); open > 0 {
		name = visible(decodeWords(strings.Trim(strings.TrimSpace(field[:open]), `"`), charset), mostName)
		address = visible(strings.TrimRight(strings.TrimSpace(field[open+1:]), ">"), mostAddress)
	} else {
		name = visible(decodeWords(field, charset), mostName)
	}
	if name == "" {
		return address, ""
	}
	return name, address
}
