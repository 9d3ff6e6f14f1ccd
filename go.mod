module imapped

go 1.26.0
