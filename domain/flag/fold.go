package flag

// Keywords are atoms (RFC 9051 section 9, flag-keyword), so only ASCII letters fold: bytes above that compare as they
// are, and the fold is a total order whatever an upstream sends.

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

func compareFold(a, b string) int {
	for i := range min(len(a), len(b)) {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func equalFold(a, b string) bool { return len(a) == len(b) && compareFold(a, b) == 0 }

// isKeyword says whether k is an atom (RFC 9051 section 9): not empty, and free of whatever ends or changes the
// syntax of a list or a response code.
func isKeyword(k string) bool {
	for i := range len(k) {
		switch c := k[i]; {
		case c <= ' ' || c >= 0x7f:
			return false
		case c == '(' || c == ')' || c == '{' || c == '%' || c == '*' || c == '"' || c == '\\' || c == ']':
			return false
		}
	}
	return k != ""
}
