package oauth

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/oauth2"
)

// Source gives an account's access tokens, from the store for as long as they last, and refreshed before they end.
type Source struct {
	Client Client
	Store  Store
	Now    func() time.Time // nil: time.Now
}

// lastUse is how much of an access token's life must be left for it to be of use.
const lastUse = time.Minute

// Token returns an access token that lasts for atLeast, or for as long as the provider lets a fresh one last when that
// is less. While the provider cannot be asked, a stored one that lasts for a minute still is returned. When only signing
// in helps the error is a *SignInError; other errors may pass.
func (s Source) Token(ctx context.Context, atLeast time.Duration) (Token, error) {
	good := func(r record) bool {
		t := r.token()
		return t.left(s.now()) >= min(max(atLeast, lastUse), worthwhile(t))
	}
	t, err := s.current(ctx, good)
	var ended *SignInError
	if err == nil || errors.As(err, &ended) || ctx.Err() != nil {
		return t, err
	}
	if r, readErr := s.read(); readErr == nil && r.token().left(s.now()) > lastUse {
		return r.token(), nil
	}
	return Token{}, err
}

// worthwhile is how much of its life a token must have lost for a refresh to be worth it: where tokens live shorter
// than callers wish, each call would refresh.
func worthwhile(t Token) time.Duration {
	if t.Expiry.IsZero() {
		return 0
	}
	return t.Expiry.Sub(t.Issued) / 4 * 3
}

// Renew returns another access token than the refused one: the stored one, when somebody refreshed it meanwhile, or
// else a fresh one. Errors are those of Token. Whatever comes of it, the refused one is not given out again.
func (s Source) Renew(ctx context.Context, refused string) (Token, error) {
	t, err := s.current(ctx, func(r record) bool {
		return r.Access != refused && r.token().left(s.now()) > lastUse
	})
	if err != nil {
		return Token{}, errors.Join(err, s.Store.forget(ctx, refused))
	}
	return t, nil
}

// Mark returns bytes that change whenever a sign-in or a refresh replaced what only they can replace, and nil when there
// is no sign-in. They tell nothing of the token.
func (s Source) Mark() []byte { return s.Store.mark() }

// current returns the stored token when it is good, and a fresh one otherwise.
func (s Source) current(ctx context.Context, good func(record) bool) (Token, error) {
	r, err := s.read()
	if err != nil {
		return Token{}, err
	}
	if good(r) {
		return r.token(), nil
	}
	release, err := s.Store.lock(ctx)
	if err != nil {
		return Token{}, err
	}
	defer release()
	if r, err = s.read(); err != nil || good(r) { // others may have refreshed while we waited
		return r.token(), err
	}
	return s.refresh(ctx, r)
}

func (s Source) read() (record, error) {
	r, err := s.Store.read()
	var broken *damaged
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return record{}, &SignInError{Reason: "nobody has signed in yet", Err: err}
	case errors.As(err, &broken):
		return record{}, &SignInError{Reason: "the stored sign-in cannot be read: " + err.Error(), Err: err}
	}
	return r, err
}

// refresh asks for a fresh token and stores it. The newest refresh token is tried first, and when it is refused before
// it ever worked, the one before it.
func (s Source) refresh(ctx context.Context, r record) (Token, error) {
	next, err := s.ask(ctx, r, r.Refresh)
	var refused *SignInError
	if errors.As(err, &refused) && r.Proven != "" {
		if older, olderErr := s.ask(ctx, r, r.Proven); olderErr == nil {
			next, err = older, nil
		}
	}
	if err != nil {
		return Token{}, err
	}
	if err := s.Store.write(next); err != nil {
		return Token{}, err
	}
	return next.token(), nil
}

// ask gets a fresh token for a refresh token (RFC 6749 section 6).
func (s Source) ask(ctx context.Context, r record, refresh string) (record, error) {
	if refresh == "" {
		return record{}, &SignInError{Reason: "the sign-in has ended and gave no refresh token"}
	}
	asked := s.now()
	source := s.Client.config("").TokenSource(s.Client.within(ctx), &oauth2.Token{RefreshToken: refresh})
	answer, err := source.Token()
	if err != nil {
		return record{}, s.Client.explain(err, s.Client.TokenURL, "the sign-in has expired or was revoked", refresh)
	}
	fresh := s.Client.granted(answer, asked)
	if _, told := answer.Extra("scope").(string); !told {
		fresh.Scopes = r.Scopes // as they were (RFC 6749 section 6)
	}
	return r.with(fresh, refresh), nil
}

func (s Source) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
