package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"imapped/domain/fault"
)

// status returns the HTTP status of an answer that is an error; 0 when there was no answer.
func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// isMissing says that there is no such object; a missing bucket or upload is another matter.
func isMissing(err error) bool {
	return status(err) == http.StatusNotFound && code(err) != "NoSuchBucket" && !isForgotten(err)
}

// isForgotten says that there is no such upload in parts: it was completed, or given up.
func isForgotten(err error) bool { return code(err) == "NoSuchUpload" }

// isThere says that a conditional write found an object.
func isThere(err error) bool { return status(err) == http.StatusPreconditionFailed }

// isRace says that a write met another request for the same object, and may be repeated.
func isRace(err error) bool { return status(err) == http.StatusConflict }

// cause is an error of the SDK in our words: its own name hosts and request ids.
type cause struct {
	text string
	err  error
}

func (c *cause) Error() string { return c.text }
func (c *cause) Unwrap() error { return c.err }

// mapErr gives an error its kind. ctx is the caller's: only its end is fault.Canceled.
func mapErr(ctx context.Context, op string, err error) error {
	var f *fault.Error
	var n net.Error
	var lost *net.OpError
	var unknown *net.DNSError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fault.As(fault.Canceled, op, ctx.Err())
	case errors.As(err, &f):
		return fault.Wrap(op, err)
	case isMissing(err):
		return fault.As(fault.NotFound, op, &cause{"it does not exist", err})
	case status(err) == http.StatusForbidden || status(err) == http.StatusUnauthorized:
		return unavailable(op, "the object store refuses access", err)
	case status(err) != 0:
		return unavailable(op, fmt.Sprintf("the object store answered %d %s", status(err), code(err)), err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &n) && n.Timeout():
		return unavailable(op, "the object store did not answer in time", err)
	case errors.As(err, &unknown):
		return unavailable(op, "the name of the object store cannot be resolved", err)
	case errors.As(err, &lost) && lost.Err != nil:
		return unavailable(op, "the object store cannot be reached: "+lost.Err.Error(), err)
	}
	return unavailable(op, "the connection to the object store broke", err)
}

func unavailable(op, text string, err error) error {
	return fault.As(fault.Unavailable, op, &cause{text, err})
}
