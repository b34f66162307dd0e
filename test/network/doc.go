// Package network is a network in memory, for whole arrays in a synctest bubble: who
// waits for it is durably blocked, so that time passes as soon as nothing else runs, and
// 140 seconds take none.
//
// Connections hold what the reader has not taken yet, up to a limit, as a socket does.
// Deadlines, half of them too, are those of net.Conn. With delays (DialOver) what happens on
// several connections has an order: of two things at one instant none comes first. What one end
// does at one instant comes at once.
package network
