package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/popfetchd/popfetchd/internal/provider"
)

// key is a known key: its name, and how its value gets into a T.
type key[T any] struct {
	name string
	read func(v value, to *T)
}

// fileKeys are the keys of the file itself.
func fileKeys() []key[Config] {
	return []key[Config]{
		{"state_dir", file(func(c *Config) *string { return &c.StateDir })},
		{"schedule", scalar(ParseSchedule, func(c *Config) *Schedule { return &c.Schedule })},
		{"parallel", scalar(number(1, 64), func(c *Config) *int { return &c.Parallel })},
		{"listen", readListen},
		{"listen_password_file", file(func(c *Config) *string { return &c.Listen.PasswordFile })},
		{"listen_cert", file(func(c *Config) *string { return &c.Listen.Cert })},
		{"listen_key", file(func(c *Config) *string { return &c.Listen.Key })},
		{"alerts", readAlerts},
		{"alert_after", scalar(durationOrOff("never"), func(c *Config) *time.Duration { return &c.AlertAfter })},
		{"accounts", readAccounts},
	}
}

// accountKeys are the keys of one account.
func accountKeys() []key[Account] {
	password := readSecret(func(a *Account) **secret { return &a.secret })
	return []key[Account]{
		{"name", scalar(parseName, func(a *Account) *string { return &a.Name })},
		{"provider", readProvider},
		{"host", scalar(parseHost, func(a *Account) *string { return &a.Host })},
		{"port", scalar(number(1, 65535), func(a *Account) *int { return &a.Port })},
		{"tls", scalar(oneOf(tlsImplicit, tlsStart, tlsNone), func(a *Account) *string { return &a.TLS })},
		{"allow_cleartext", scalar(parseBool, func(a *Account) *bool { return &a.AllowCleartext })},
		{"ca_file", file(func(a *Account) *string { return &a.CAFile })},
		{"pin_sha256", readPins},
		{"username", scalar(parseUsername, func(a *Account) *string { return &a.Username })},
		{"password", password},
		{"password_file", password},
		{"password_command", password},
		{"password_env", password},
		{"password_credential", password},
		{"auth", scalar(oneOf("auto", "user", "plain", authXOAuth2, authOAuthBearer), func(a *Account) *string { return &a.Auth })},
		{"oauth", readOAuth},
		{"policy", scalar(oneOf(Keep, MarkRead, Archive, Delete), func(a *Account) *Policy { return &a.Policy })},
		{"delete_after", scalar(ParseDuration, func(a *Account) *time.Duration { return &a.DeleteAfter })},
		{"delete_missing", scalar(parseBool, func(a *Account) *bool { return &a.DeleteMissing })},
		{"access", scalar(oneOf(AllMail, FromNowOn), func(a *Account) *Access { return &a.Access })},
		{"recent", scalar(parseBool, func(a *Account) *bool { return &a.Recent })},
		{"max_message_size", scalar(ParseSize, func(a *Account) *int64 { return &a.MaxMessageSize })},
		{"daily_limit", scalar(parseLimit, func(a *Account) *int64 { return &a.DailyLimit })},
		{"timeout", scalar(parseTimeout, func(a *Account) *time.Duration { return &a.Timeout })},
		{"pipelining", scalar(parsePipelining, func(a *Account) *bool { return &a.Pipelining })},
		{"maildir", readMaildir},
		{"mbox", readMbox},
		{"schedule", scalar(ParseSchedule, func(a *Account) *Schedule { return &a.Schedule })},
		{"alert_after", scalar(durationOrOff("never"), func(a *Account) *time.Duration { return &a.AlertAfter })},
		{"on_new", scalar(parseCommand, func(a *Account) *string { return &a.OnNew })},
	}
}

// secretKeys name the ways to give a password.
var secretKeys = []string{"password", "password_file", "password_command", "password_env", "password_credential"}

// names returns the names of a table's keys.
func names[T any](table []key[T]) []string {
	all := make([]string, len(table))
	for i, k := range table {
		all[i] = k.name
	}
	return all
}

// belong returns a hint for each of the keys.
func belong(keys []string, hint string) map[string]string {
	all := make(map[string]string, len(keys))
	for _, key := range keys {
		all[key] = hint
	}
	return all
}

// section is a mapping of the file that has been read, for those who hold its
// keys against each other.
type section struct {
	parser *parser
	path   string // such as accounts[gmail]; "" for the file itself
	line   int
	oauth  *section        // an account's, when it has one
	lines  map[string]int  // of the keys that were given
	bad    map[string]bool // keys whose value is a mistake already
}

// given says whether a key stands in the file, right or wrong.
func (s *section) given(key string) bool { return s.lines[key] > 0 }

// fine says whether none of the keys is a mistake already: only then is there
// a point in holding them against each other.
func (s *section) fine(keys ...string) bool {
	for _, key := range keys {
		if s.bad[key] {
			return false
		}
	}
	return true
}

// fail notes a problem of a key that was given.
func (s *section) fail(key, format string, args ...any) {
	s.bad[key] = true
	s.parser.fail(s.lines[key], join(s.path, key), format, args...)
}

// missing notes what the section lacks.
func (s *section) missing(key, format string, args ...any) {
	s.parser.fail(s.line, join(s.path, key), format, args...)
}

// readSection reads a mapping by the table of its keys. Elsewhere says of the
// keys of other sections where they belong.
func readSection[T any](s *section, mapping *yaml.Node, table []key[T], to *T, elsewhere map[string]string) {
	for _, pair := range s.parser.pairs(s.path, mapping, 0) {
		s.lines[pair.key] = pair.line
		known := false
		for _, k := range table {
			if k.name == pair.key {
				k.read(value{pair.value, pair.line, k.name, s}, to)
				known = true
			}
		}
		if !known {
			s.unknown(pair, names(table), elsewhere)
		}
	}
}

// unknown notes an unknown key. The key that was probably meant counts as
// given, so that it is not missed as well.
func (s *section) unknown(pair pair, known []string, elsewhere map[string]string) {
	meant, advice := nearest(pair.key, known), "known here: "+strings.Join(known, ", ")
	if before, _, found := strings.Cut(pair.key, ":"); found && nearest(before, known) != "" {
		meant = nearest(before, known)
		advice = "write a space after the colon of " + meant
	} else if meant != "" {
		advice = "did you mean " + meant + "?"
	}
	if hint := elsewhere[pair.key]; hint != "" {
		meant, advice = "", hint
	}
	s.parser.fail(pair.line, join(s.path, pair.key), "unknown key; %s", advice)
	if meant != "" && !s.given(meant) {
		s.lines[meant], s.bad[meant] = pair.line, true
	}
}

// value is one value of the file, with what a message about it needs.
type value struct {
	node    *yaml.Node
	line    int
	key     string
	section *section
}

func (v value) fail(format string, args ...any) {
	v.section.bad[v.key] = true
	v.section.parser.fail(v.line, join(v.section.path, v.key), format, args...)
}

// text returns what stands in the file, whatever YAML takes it for: port: 995
// and port: "995" are the same, and so are a user name and a password of
// digits. It returns false after noting that the value is none.
func (v value) text() (string, bool) {
	switch {
	case v.node.Style&yaml.TaggedStyle != 0:
		v.fail("YAML tags have no use here; remove the word that begins with !, or put the value in quotes")
	case v.node.Kind == yaml.SequenceNode:
		v.fail("must be a single value, not a list")
	case v.node.Kind == yaml.MappingNode:
		v.fail("must be a single value, not a group of keys")
	case isNull(v.node) || v.node.Value == "":
		v.fail("has no value; give it one or remove the line")
	default:
		return v.node.Value, true
	}
	return "", false
}

// items returns the values of a list; a single value is a list of one.
func (v value) items() []value {
	if v.node.Kind != yaml.SequenceNode {
		return []value{v}
	}
	if len(v.node.Content) == 0 {
		v.fail("the list is empty; give it a value or remove the line")
	}
	var all []value
	for _, item := range v.node.Content {
		if !v.section.parser.spend(item.Line) {
			break
		}
		all = append(all, value{resolve(item), item.Line, v.key, v.section})
	}
	return all
}

// scalar makes a key's read of the parser of its text and the field it sets.
// The parser's error says what is wrong and what would be right.
func scalar[T, V any](parse func(string) (V, error), field func(*T) *V) func(value, *T) {
	return func(v value, to *T) {
		text, ok := v.text()
		if !ok {
			return
		}
		parsed, err := parse(text)
		if err != nil {
			v.fail("%s", err)
			return
		}
		*field(to) = parsed
	}
}

// file reads the path of a file or folder.
func file[T any](field func(*T) *string) func(value, *T) {
	return func(v value, to *T) {
		scalar(v.section.parser.absolute, field)(v, to)
	}
}

func readMaildir(v value, to *Account) {
	scalar(v.section.parser.template, func(a *Account) *PathTemplate { return &a.Maildir })(v, to)
}

func readMbox(v value, to *Account) {
	if strings.HasSuffix(v.node.Value, "/") {
		v.fail("%s is a folder; name a file in it, or use maildir", quoted(v.node.Value))
		return
	}
	scalar(v.section.parser.template, func(a *Account) *PathTemplate { return &a.Mbox })(v, to)
}

func readProvider(v value, a *Account) {
	scalar(parseProvider, func(a *Account) *string { return &a.Provider })(v, a)
}

// parseProvider reads the name of a provider that has POP. People also write
// what stands behind the @ of their address.
func parseProvider(text string) (string, error) {
	var known []string
	for _, p := range provider.All() {
		switch {
		case p.NoPOP == "":
			known = append(known, p.Name)
		case p.Name == strings.ToLower(text) || slices.Contains(p.Domains, strings.ToLower(text)):
			return "", errors.New(p.NoPOP)
		}
	}
	name, err := oneOf(known...)(text)
	for _, domain := range []string{text, text + ".com"} {
		if meant, found := provider.OfAddress("@" + domain); err != nil && found && nearest(text, known) == "" {
			return "", fmt.Errorf("%s is unknown; did you mean %s? known: %s", quoted(text), meant.Name, strings.Join(known, ", "))
		}
	}
	return name, err
}

func readPins(v value, a *Account) {
	for _, item := range v.items() {
		one := func(*Account) *Fingerprint {
			a.PinSHA256 = append(a.PinSHA256, Fingerprint{})
			return &a.PinSHA256[len(a.PinSHA256)-1]
		}
		scalar(parseFingerprint, one)(item, a)
	}
}

// readSecret notes where a password comes from. Nothing of the value goes into
// a message.
func readSecret[T any](field func(*T) **secret) func(value, *T) {
	return func(v value, to *T) {
		text, ok := v.text()
		if !ok {
			return
		}
		s, err := newSecret(v.key, text, v.section.parser)
		if err != nil {
			v.fail("%s", err)
			return
		}
		if *field(to) == nil {
			*field(to) = s
		}
	}
}

// readAccounts reads the list of accounts, and judges each.
func readAccounts(v value, c *Config) {
	if v.node.Kind != yaml.SequenceNode {
		v.fail("must be a list of accounts; begin each with \"- name: …\"")
		return
	}
	if len(v.node.Content) == 0 {
		v.fail("the list is empty; begin an account with \"- name: …\"")
		return
	}
	for i, item := range v.items() {
		node := item.node
		if node.Kind != yaml.MappingNode {
			v.section.parser.fail(item.line, accountPath(node, i), "must be an account; begin it with \"- name: …\"")
			continue
		}
		v.section.parser.account(node, accountPath(node, i))
	}
}

// accountPath names an account in messages: by its name, or by its place in
// the list when it has no good one.
func accountPath(node *yaml.Node, index int) string {
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == "name" {
			if name := resolve(node.Content[i+1]).Value; accountName.MatchString(name) {
				return "accounts[" + name + "]"
			}
			break
		}
	}
	return "accounts[#" + strconv.Itoa(index+1) + "]"
}

// shownKey is what a key looks like; what does not may be a misplaced secret.
var shownKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)

// join returns the full name of a key in a section, or the section's when the
// key is not to be shown.
func join(path, key string) string {
	switch {
	case !shownKey.MatchString(key):
		return path
	case path == "":
		return key
	}
	return path + "." + key
}
