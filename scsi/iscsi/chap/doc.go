// Package chap is the target's side of CHAP in an iSCSI login (RFC 7143 12.1.3, RFC
// 1994). It is pure but for random challenges: keys come in and go out.
package chap
