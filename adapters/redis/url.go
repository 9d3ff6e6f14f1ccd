package redis

import (
	goredis "github.com/redis/go-redis/v9"

	"imapped/domain/fault"
)

// CheckURL says whether the driver takes a URL, without connecting. Its error, fault.Invalid, shows nothing of the URL.
func CheckURL(url string) error {
	if _, err := goredis.ParseURL(url); err != nil {
		return fault.New(fault.Invalid, "read the URL of Redis", "the driver refuses it")
	}
	return nil
}
