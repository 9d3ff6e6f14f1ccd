package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
)

// userFlag names a user.
type userFlag struct {
	UsernameEmail string `help:"The name the user logs in with, usually an e-mail address." required:"" placeholder:"NAME"`
}

type createUserCmd struct {
	dataFlags
	userFlag
	passwordFlags
}

// Run creates the user.
func (c createUserCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		password, err := c.read("Password for "+c.UsernameEmail, true)
		if err != nil {
			return err
		}
		u, err := in.admin.CreateUser(ctx, c.UsernameEmail, password)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "Created user %s. Add an account with: imapped add-account --user-email %s ...\n", u.Name, u.Name)
		return err
	})
}

type setPasswordCmd struct {
	dataFlags
	userFlag
	passwordFlags
}

// Run changes the password.
func (c setPasswordCmd) Run(ctx context.Context, conf *config.Config) error {
	return withStore(ctx, conf, func(in *instance) error {
		password, err := c.read("New password for "+c.UsernameEmail, true)
		if err != nil {
			return err
		}
		return in.admin.SetPassword(ctx, c.UsernameEmail, password)
	})
}

type disableUserCmd struct {
	dataFlags
	userFlag
	Enable bool `help:"Let the user in again."`
}

// Run locks the user out or lets them in.
func (c disableUserCmd) Run(ctx context.Context, conf *config.Config) error {
	return withStore(ctx, conf, func(in *instance) error {
		return in.admin.SetDisabled(ctx, c.UsernameEmail, !c.Enable)
	})
}

type listUsersCmd struct {
	dataFlags
	listFlags
}

type userRow struct {
	ID       int64     `json:"id"`
	Name     string    `json:"name"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	Accounts int       `json:"accounts"`
}

// Run lists the users.
func (c listUsersCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		users, err := in.admin.Users(ctx)
		if err != nil {
			return err
		}
		accounts, err := in.admin.Accounts(ctx, "")
		if err != nil {
			return fault.Wrap("list users", err)
		}
		rows := make([]userRow, 0, len(users))
		var text [][]string
		for _, u := range users {
			r := userRow{ID: int64(u.ID), Name: u.Name, Disabled: u.Disabled, Created: u.Created}
			for _, a := range accounts {
				if a.User == u.ID {
					r.Accounts++
				}
			}
			state := "active"
			if r.Disabled {
				state = "disabled"
			}
			rows = append(rows, r)
			text = append(text, []string{strconv.FormatInt(r.ID, 10), printable(r.Name), state, strconv.Itoa(r.Accounts), timeText(r.Created)})
		}
		return c.table(out, rows, []string{"ID", "USER", "STATE", "ACCOUNTS", "CREATED"}, text)
	})
}
