package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/provider"
)

// chooseAddress comes first: it mostly tells the provider.
func (s *initCall) chooseAddress(ctx context.Context) (err error) {
	good := func(text string) error {
		if text == "" {
			return errors.New("give the address that the mail is sent to")
		}
		w := s.answers
		w.username = text
		return w.wrong("username")
	}
	switch {
	case s.address != "":
		if err := good(s.address); err != nil {
			return usagef("init: --address: %w", err)
		}
	case s.ask == nil:
		return usagef("init: give your address with --address")
	default:
		s.address, err = s.ask.ask(ctx, "\nYour mail address", "", good)
	}
	return err
}

// chooseProvider finds the entry of the table, or the server of one's own.
func (s *initCall) chooseProvider(ctx context.Context) error {
	guess, guessed := provider.OfAddress(s.address)
	switch {
	case s.providerName != "":
		if err := s.takeProvider(s.providerName); err != nil {
			return usagef("init: --provider: %w", err)
		}
		return nil
	case s.host != "":
		return nil
	case s.ask == nil && guessed:
		if err := s.takeProvider(guess.Name); err != nil {
			return usagef("init: %w", err)
		}
		return nil
	case s.ask == nil:
		return usagef("init: give the provider with --provider, or the server with --host; known: %s", providerNames())
	}
	s.ask.say("\nYour provider, or the name of your POP3 server. Known are:")
	s.ask.say("%s.", providerNames())
	_, err := s.ask.ask(ctx, "Provider or server", guess.Name, func(text string) error {
		s.provider, s.host = provider.Provider{}, ""
		_, known := provider.Named(text)
		if known || !strings.Contains(text, ".") {
			return s.takeProvider(strings.ToLower(text))
		}
		w := s.answers
		w.host = text
		s.host = text
		return w.wrong("host")
	})
	return err
}

func (s *initCall) takeProvider(name string) error {
	p, known := provider.Named(name)
	if !known {
		w := s.answers
		w.provider.Name = name
		return w.wrong("provider")
	}
	if p.NoPOP != "" {
		return errors.New(p.NoPOP)
	}
	s.provider = p
	return nil
}

// chooseUsername makes the name to log in with of the address.
func (s *initCall) chooseUsername(ctx context.Context) (err error) {
	s.username = s.address
	switch {
	case s.provider.Username == provider.LocalPart:
		s.username, _, _ = strings.Cut(s.address, "@")
	case s.provider.Name == "" && s.ask != nil:
		s.username, err = s.ask.ask(ctx, "User name there", s.address, func(text string) error {
			w := s.answers
			w.username = text
			return w.wrong("username")
		})
	}
	return err
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._@+-]`)

// chooseName names the account: after the provider, or the server's domain.
func (s *initCall) chooseName(context.Context) error {
	if s.name == "" {
		s.name = s.provider.Name
	}
	if s.name == "" {
		_, s.name, _ = strings.Cut(s.address, "@")
	}
	if s.name == "" {
		s.name = s.host
	}
	s.name = strings.TrimLeft(notInNames.ReplaceAllString(s.name, "-"), "._@+-")
	if err := s.wrong("name"); err != nil {
		return usagef("init: --name: %w", err)
	}
	return s.free()
}

// chooseMailbox asks where the mail goes.
func (s *initCall) chooseMailbox(ctx context.Context) (err error) {
	usual := "~/Mail/" + s.name
	if s.maildir != "" || s.mbox != "" {
		return nil
	}
	if s.ask == nil {
		s.maildir = usual
		return nil
	}
	s.ask.say("\nWhere should the mail go? A folder gets a file for each message (a Maildir); a name that ends in .mbox or .mbx becomes one file with all of them.")
	_, err = s.ask.ask(ctx, "Mail goes to", usual, func(text string) error {
		path, err := fromHereTemplate(text)
		if err != nil {
			return err
		}
		w := s.answers
		if strings.HasSuffix(path, ".mbox") || strings.HasSuffix(path, ".mbx") {
			w.mbox = path
			err = w.wrong("mbox")
		} else {
			w.maildir = path
			err = w.wrong("maildir")
		}
		if err == nil {
			s.maildir, s.mbox = w.maildir, w.mbox
		}
		return err
	})
	return err
}

// choice is a policy in the words of whoever chooses it.
type choice struct{ policy, words string }

// choices are the policies that the provider knows.
func (w answers) choices() []choice {
	theirs, title := "the server", "The server"
	if w.provider.Title != "" {
		theirs, title = w.provider.Title, w.provider.Title
	}
	list := []choice{{string(config.Keep), "the mail stays at " + theirs + "; nothing changes there"}}
	for _, policy := range w.provider.Policies {
		switch config.Policy(policy) {
		case config.MarkRead:
			list = append(list, choice{policy, title + " marks its copy as read"})
		case config.Archive:
			list = append(list, choice{policy, title + " archives its copy: out of the inbox, not deleted"})
		}
	}
	gone := title + "'s copy is deleted once yours is safe on the disk"
	if w.provider.Windowed {
		gone = title + " moves its copy to the trash, which it empties after 30 days"
	}
	return append(list, choice{string(config.Delete), gone})
}

// choosePolicy asks what happens on the server.
func (s *initCall) choosePolicy(ctx context.Context) (err error) {
	good := func(text string) error {
		w := s.answers
		w.policy = s.pick(text)
		return w.wrong("policy")
	}
	switch {
	case s.policy != "":
		if err := s.wrong("policy"); err != nil {
			return usagef("init: --policy: %w", err)
		}
		return nil
	case s.ask == nil:
		s.policy = string(config.Keep)
		return nil
	}
	s.ask.say("\nWhat should happen on the server, once a message is safe here?")
	for i, c := range s.choices() {
		lead := fmt.Sprintf("  %d %-10s", i+1, c.policy)
		fmt.Fprint(s.ask.out, lead, wrapped(c.words, strings.Repeat(" ", len(lead)), s.ask.width))
	}
	answer, err := s.ask.ask(ctx, "Policy", string(config.Keep), good)
	s.policy = s.pick(answer)
	return err
}

// pick is the policy that an answer means: its name, or its number.
func (s *initCall) pick(answer string) string {
	list := s.choices()
	if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(list) {
		return list[n-1].policy
	}
	return strings.ToLower(answer)
}

// chooseSignIn gets the password, or the client id for signing in without one.
func (s *initCall) chooseSignIn(ctx context.Context) error {
	if s.provider.OAuthOnly && s.auth == "" {
		s.auth = "xoauth2"
	}
	switch {
	case s.auth != "":
		return s.chooseClient(ctx)
	case s.passwordFile != "":
		return nil
	case s.passwordStdin:
		text, err := s.passwordFromStdin(ctx)
		if err != nil {
			return err
		}
		s.password = cleanPassword(s.provider, text)
		if hint := passwordHint(s.provider, s.password); hint != "" {
			fmt.Fprintf(s.stderr, "popfetchd: init: %s\n", hint)
		}
		return nil
	case s.ask == nil:
		return usagef("init: give the password with --password-file or --password-stdin")
	}
	return s.askPassword(ctx)
}

// askPassword explains which password is meant, and asks until it looks like
// one.
func (s *initCall) askPassword(ctx context.Context) error {
	s.explainPassword()
	question := "Password"
	if s.provider.AppPassword {
		question = "App password"
	}
	for {
		text, err := s.ask.secret(ctx, question)
		if err != nil {
			return err
		}
		if err := goodPassword(text); err != nil {
			s.ask.say("  It %s.", err)
			continue
		}
		s.password = cleanPassword(s.provider, text)
		hint := passwordHint(s.provider, s.password)
		if hint == "" {
			return nil
		}
		s.ask.say("  %s.", hint)
		if anyway, err := s.ask.yes(ctx, "Use it all the same?", false); err != nil || anyway {
			return err
		}
	}
}

// explainPassword says where the password comes from.
func (s *initCall) explainPassword() {
	p := s.provider
	switch {
	case p.Letters > 0:
		s.ask.say("\n%s takes no normal password from programs, but an app password: %d letters that are for popfetchd alone and can be taken back at any time. Turn on 2-step verification in your account, then make one here:", p.Title, p.Letters)
		s.ask.say("  %s", p.Pages.AppPasswords)
		s.ask.say("and copy its letters; spaces do not matter. (No such page? It is missing for accounts at work or school that do not allow it: popfetchd login is the other way, see docs/gmail.md.)")
	case p.Name != "":
		fmt.Fprintln(s.ask.out)
		for _, note := range p.Notes {
			fmt.Fprint(s.ask.out, "- ", wrapped(note+".", "  ", s.ask.width))
		}
		if p.Pages.AppPasswords != "" {
			s.ask.say("App passwords: %s", p.Pages.AppPasswords)
		}
	default:
		fmt.Fprintln(s.ask.out)
	}
}

// chooseClient gets the client id that signing in needs.
func (s *initCall) chooseClient(ctx context.Context) (err error) {
	good := func(text string) error {
		if text == "" {
			return errors.New("without one nobody can sign in")
		}
		w := s.answers
		w.clientID = text
		return w.wrong("client_id")
	}
	switch {
	case s.clientID != "":
		return nil
	case s.ask == nil:
		return usagef("init: give the id of your OAuth client with --client-id; see popfetchd providers %s", s.provider.Name)
	}
	s.ask.say("\n%s takes no password here: you sign in with a browser, and popfetchd needs a client id for that, which you register once:", s.provider.Title)
	s.ask.say("  %s", s.provider.Pages.OAuthClient)
	if s.clientID, err = s.ask.ask(ctx, "Client id", "", good); err != nil || s.clientSecretFile != "" {
		return err
	}
	s.clientSecretFile, err = s.ask.ask(ctx, "File with its secret, if it has one", "", func(string) error { return nil })
	if err == nil {
		s.clientSecretFile, err = fromHere(s.clientSecretFile)
	}
	return err
}

// cleanPassword cuts the spaces between the groups that an app password is
// shown in; they are no part of it.
func cleanPassword(p provider.Provider, text string) string {
	if !p.AppPassword {
		return text
	}
	return strings.Join(strings.FieldsFunc(text, unicode.IsSpace), "")
}

// passwordHint says why a password is hardly the right one, "" when it may be.
func passwordHint(p provider.Provider, text string) string {
	letters := !slices.ContainsFunc([]byte(text), func(c byte) bool { return (c|0x20) < 'a' || (c|0x20) > 'z' })
	if p.Letters == 0 || letters && len(text) == p.Letters {
		return ""
	}
	return fmt.Sprintf("That is no app password, which has %d letters and nothing else; %s refuses the account's normal password", p.Letters, p.Title)
}
