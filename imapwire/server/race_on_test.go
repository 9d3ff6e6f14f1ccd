//go:build race

package server

// raceEnabled says that the race detector inflates memory figures.
const raceEnabled = true
