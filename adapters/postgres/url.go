package postgres

import (
	"github.com/jackc/pgx/v5/pgxpool"

	"imapped/domain/fault"
)

// CheckURL says whether the driver takes a URL, without connecting. Its error, fault.Invalid, shows nothing of the URL.
func CheckURL(url string) error {
	if _, err := pgxpool.ParseConfig(url); err != nil {
		return fault.New(fault.Invalid, "read the database's URL", "the driver refuses it")
	}
	return nil
}
