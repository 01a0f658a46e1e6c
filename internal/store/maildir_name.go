package store

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The name of a finished file in a Maildir:
//
//	1700000000.popfetchd-<32 hex digits of the ID>.<host>,S=<size>,W=<virtual size>
//
// and, once a mail reader has seen it, ":2," with flags behind that. S is the
// size in bytes, W the size if every line ended in CRLF; Dovecot takes both
// from the name instead of reading the file. In tmp/ the sizes are not known
// yet and 16 random digits keep runs apart:
//
//	1700000000.popfetchd-<32 hex digits of the ID>.<16 hex digits>.<host>

const nameMark = ".popfetchd-"

// finalName is the name in new/.
func finalName(at time.Time, id ID, host string, d *digest) string {
	return fmt.Sprintf("%d%s%s.%s,S=%d,W=%d", at.Unix(), nameMark, id, host, d.size, d.virtual)
}

// tmpName is the name in tmp/.
func tmpName(at time.Time, id ID, host string) string {
	return strconv.FormatInt(at.Unix(), 10) + nameMark + id.String() + "." + randomDigits() + "." + host
}

func randomDigits() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// parseName takes a finished file's name apart; ok is false for names that
// are not ours.
func parseName(name string) (id ID, size int64, ok bool) {
	id, rest, ok := parseID(name)
	if !ok {
		return ID{}, 0, false
	}
	_, sizes, _ := strings.Cut(rest, ",S=")
	digits := sizes[:len(sizes)-len(strings.TrimLeft(sizes, "0123456789"))]
	size, err := strconv.ParseInt(digits, 10, 64)
	return id, size, err == nil
}

// CarriesID says whether the name of a file in a Maildir carries an identity:
// those that popfetchd gave it do.
func CarriesID(name string) bool {
	_, _, ok := parseID(name)
	return ok
}

// parseID reads the time and the ID that all our names begin with and
// returns what follows them.
func parseID(name string) (id ID, rest string, ok bool) {
	rest = strings.TrimLeft(name, "0123456789")
	if len(rest) == len(name) {
		return ID{}, "", false
	}
	rest, ok = strings.CutPrefix(rest, nameMark)
	if !ok || len(rest) < 2*len(id) {
		return ID{}, "", false
	}
	if _, err := hex.Decode(id[:], []byte(rest[:2*len(id)])); err != nil {
		return ID{}, "", false
	}
	return id, rest[2*len(id):], true
}

// isTmpName says whether name is an unfinished file of this account and host.
func isTmpName(name string, tag [4]byte, host string) bool {
	id, rest, ok := parseID(name)
	if !ok || id.tag() != tag {
		return false
	}
	digits, ok := strings.CutSuffix(rest, "."+host)
	return ok && isRandomDigits(strings.TrimPrefix(digits, "."))
}

// isRandomDigits says whether s looks like the result of randomDigits.
func isRandomDigits(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 16
}

// baseName is a file's name without its flags.
func baseName(name string) string {
	base, _, _ := strings.Cut(name, ":")
	return base
}

// escapeHost makes a host's name fit for a Maildir file name: "/" and ":" as
// the Maildir specification has it, and likewise "," (which begins our sizes)
// and everything that is not a visible ASCII character.
func escapeHost(host string) string {
	var b strings.Builder
	for _, c := range []byte(host) {
		if c == '/' || c == ':' || c == ',' || c == '\\' || c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
