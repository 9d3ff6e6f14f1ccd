package postgres

// CheckURL says whether the driver takes a URL, without connecting. Its error, fault.Invalid, shows nothing of the URL.
func CheckURL(url string) error {
	_, err := Options{URL: url}.config()
	return err
}
