package message

import "imapped/domain/fault"

// ErrUnknownEncoding says that a part's Content-Transfer-Encoding is none that can be decoded (RFC 3516 section 4.3).
var ErrUnknownEncoding = fault.New(fault.Invalid, "decode part", "unknown content transfer encoding")
