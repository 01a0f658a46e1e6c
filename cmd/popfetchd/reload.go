package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/popfetchd/popfetchd/internal/config"
	"github.com/popfetchd/popfetchd/internal/control"
)

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "have the running daemon read its configuration again",
		Long: `Have the running daemon read its configuration again, as SIGHUP does.

Fetching that is under way goes on. A file with mistakes changes nothing: they
are printed, and the daemon goes on with the configuration it has.

Exit codes: 0 the new configuration is in force; 75 no daemon is running; 78 the
file has mistakes.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.reload(cmd.Context()) },
	}
}

func (a *app) reload(ctx context.Context) error {
	c, _, err := a.loadBy(config.Read, nil)
	if err != nil {
		tell(a.stderr, err)
		return &exitError{code: exitConfig, err: errors.New("the daemon was not told: the file has mistakes")}
	}
	client, err := a.dial(ctx, c, "there is nothing that could load it again")
	if err != nil {
		return err
	}
	defer client.Close()
	loaded, err := client.Reload(ctx)
	bad, problem := (*control.ConfigError)(nil), (*exitError)(nil)
	switch {
	case errors.As(err, &bad):
		for _, line := range bad.Problems {
			fmt.Fprintf(a.stderr, "popfetchd: %s\n", oneLine(line))
		}
		return &exitError{code: exitConfig, err: errors.New("the daemon goes on with the configuration it has")}
	case errors.As(err, &problem):
		return err
	case err != nil:
		return &exitError{code: exitTemporary, err: err}
	case a.json:
		return a.printJSON(loaded)
	}
	for _, note := range loaded.Notes {
		fmt.Fprintf(a.stderr, "popfetchd: %s\n", oneLine(note))
	}
	fmt.Fprintf(a.stdout, "configuration loaded again: %s\n", plural(loaded.Accounts, "account"))
	return nil
}

// dial finds the daemon that works with the state folder of c; without says
// what follows when there is none.
func (a *app) dial(ctx context.Context, c *config.Config, without string) (*control.Client, error) {
	client, err := control.Dial(ctx, c.StateDir)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return nil, &exitError{code: exitTemporary, err: fmt.Errorf("%w; %s", err, without)}
	case err != nil:
		return nil, &exitError{code: exitLocal, err: err}
	}
	return client, nil
}
