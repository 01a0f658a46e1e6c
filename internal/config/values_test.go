package config

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "1000000": 1_000_000, "50MB": 50_000_000, "2GB": 2_000_000_000, "64MiB": 64 << 20, "1KB": 1000,
		"1KiB": 1024, "1GiB": 1 << 30, "9223372036854775807": math.MaxInt64, "8589934591GiB": 8589934591 << 30,
	} {
		if got, err := ParseSize(text); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MB", "-1MB", "+1", "0", "0KB", "1 MB", "1mb", "1.5MB", "1MBMB", "8589934592GiB", "9223372036854775808", "1e6", "0x10"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "15m": 15 * time.Minute, "12h": 12 * time.Hour, "30d": 720 * time.Hour, "2w": 336 * time.Hour,
		"1h30m": 90 * time.Minute, "36500d": maxDuration,
	} {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("ParseDuration(%q) = %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0s", "5", "m", "-5m", "1.5h", "5 m", "5M", "5ms", "36501d", "36500d1s", "99999999999999999999s", "1h5"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %s", text, got)
		}
	}
}

// What is written in any unit is what is read.
func TestSizesAndDurationsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.SampledFrom(sizeUnits).Draw(t, "unit")
		n := rapid.Int64Range(1, math.MaxInt64/u.amount).Draw(t, "n")
		if got, err := ParseSize(fmt.Sprint(n, u.name)); err != nil || got != n*u.amount {
			t.Fatalf("ParseSize(%d%s) = %d, %v", n, u.name, got, err)
		}
		letter := rapid.SampledFrom([]byte("smhdw")).Draw(t, "letter")
		each := durationUnits[letter]
		d := rapid.Int64Range(1, int64(maxDuration/each)).Draw(t, "d")
		if got, err := ParseDuration(fmt.Sprintf("%d%c", d, letter)); err != nil || got != time.Duration(d)*each {
			t.Fatalf("ParseDuration(%d%c) = %s, %v", d, letter, got, err)
		}
	})
}

func TestFingerprint(t *testing.T) {
	plain := strings.Repeat("0a", 32)
	for _, text := range []string{plain, strings.ToUpper(plain), strings.Repeat("0A:", 31) + "0A"} {
		f, err := parseFingerprint(text)
		if err != nil || f.String() != plain || f[31] != 10 {
			t.Errorf("parseFingerprint(%q) = %s, %v", text, f, err)
		}
	}
}

func TestHosts(t *testing.T) {
	for _, host := range []string{"pop.example.net", "localhost", "my_nas", "127.0.0.1", "::1", "fe80::1%eth0", "xn--80a1acny.xn--p1ai", "pop.example.net."} {
		if got, err := parseHost(host); got != host || err != nil {
			t.Errorf("parseHost(%q) = %q, %v", host, got, err)
		}
	}
	for _, host := range []string{"[::1]", "a b", "a:1", "a/b", "-a", ".a", "a\r\nb", strings.Repeat("a", 254)} {
		if got, err := parseHost(host); err == nil {
			t.Errorf("parseHost(%q) = %q", host, got)
		}
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"0.0.0.0": false, "10.0.0.1": false, "localhost.example.net": false, "127.0.0.1.example.net": false, "": false,
	} {
		if isLoopback(host) != want {
			t.Errorf("isLoopback(%q) is not %v", host, want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := names(accountKeys())
	for word, want := range map[string]string{
		"usrname": "username", "userName": "username", "user": "username", "pasword": "password", "password_fiel": "password_file",
		"delete-after": "delete_after", "Maildir": "maildir", "mbx": "mbox", "hots": "host", "tsl": "tls", "max_message": "max_message_size",
		"": "", "color": "", "weekly_cap": "", "x": "", strings.Repeat("a", 1000): "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
