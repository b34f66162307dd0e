// Package cdb is the layout of command descriptor blocks, shared by the device
// server and the initiator: Block for every command that names a range of logical
// blocks, Parameter for those that name an amount of parameter data. It is pure.
package cdb
