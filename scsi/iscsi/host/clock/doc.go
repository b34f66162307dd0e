// Package clock has a clock that may go faster or slower than the wall, stand still, and
// be stepped by hand, for hosts whose time-outs are minutes.
package clock
