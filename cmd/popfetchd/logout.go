package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
)

// logoutResult is what `logout --json` prints.
type logoutResult struct {
	Account string `json:"account"`
	Removed bool   `json:"removed"` // false: nobody was signed in
	Revoked bool   `json:"revoked"` // the provider was told
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout ACCOUNT",
		Short: "end a sign-in: revoke it at the provider, and forget it",
		Long: `Tells the provider that the sign-in is over, and removes it from this machine. Mail
that was fetched stays. Where the provider cannot be told (Microsoft has no way to)
the sign-in is forgotten here, and you end it on the provider's page of connected
programs.`,
		Example:           "  popfetchd logout gmail",
		Args:              oneAccount("logout"),
		ValidArgsFunction: a.completeOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, accounts, err := a.loadBy(config.Read, args)
			if err != nil {
				return err
			}
			return a.logout(cmd.Context(), c, accounts[0])
		},
	}
}

// logout revokes before it forgets, and forgets all the same where that fails:
// whoever logs out wants the token gone from this machine.
func (a *app) logout(ctx context.Context, c *config.Config, account config.Account) error {
	source, err := signInSource(c, account)
	if err != nil {
		return err
	}
	token, err := source.Store.LoadToRevoke()
	result := logoutResult{Account: account.Name, Removed: !errors.Is(err, fs.ErrNotExist)}
	var revokeErr error
	if err == nil && source.Client.RevokeURL != "" {
		revokeErr = source.Client.Revoke(ctx, token)
		result.Revoked = revokeErr == nil
	}
	if err := source.Store.Remove(); err != nil {
		return &exitError{code: exitLocal, err: fmt.Errorf("account %s: forgetting the sign-in: %w", account.Name, err)}
	}
	if a.json {
		if err := a.printJSON(result); err != nil {
			return err
		}
	}
	switch {
	case !result.Removed:
		a.say("%s: nobody is signed in\n", account.Name)
	case revokeErr != nil:
		a.say("%s: the sign-in is forgotten here\n", account.Name)
		return &exitError{code: exitTemporary, err: fmt.Errorf(
			"account %s: the provider could not be told: %w; end it on its page of connected programs", account.Name, revokeErr)}
	case result.Revoked:
		a.say("%s: signed out; the provider has ended it too\n", account.Name)
	default:
		a.say("%s: the sign-in is forgotten here; end it at the provider on its page of connected programs\n", account.Name)
	}
	return nil
}
