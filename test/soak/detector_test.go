//go:build !race

package soak

const detector = false
