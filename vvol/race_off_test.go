//go:build !race

package vvol_test

const raceDetector = false
