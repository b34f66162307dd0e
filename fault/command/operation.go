package command

import (
	"fmt"
	"strconv"
	"strings"

	"vvsim/scsi"
)

// Class of events that op= names.
type Class uint8

const (
	Any Class = iota
	Read
	Write
	Media
	Flush // of engines
	Empty // of engines: writes without data; op=write names them
	Free  // of engines: writes that give space back; op=write names them
	Code  // an operation code
	Named // an operation of the provider
)

// Operation is what op= names; the zero value is Any.
type Operation struct {
	Class Class
	Code  scsi.OpCode // of class Code
	Name  string      // of class Named
}

// ParseOperation reads which commands op= names.
func ParseOperation(v string) (Operation, error) {
	switch v {
	case "read":
		return Operation{Class: Read}, nil
	case "write":
		return Operation{Class: Write}, nil
	case "media":
		return Operation{Class: Media}, nil
	case "any":
		return Operation{}, nil
	}
	digits, ok := strings.CutPrefix(v, "0x")
	n, err := strconv.ParseUint(digits, 16, 8)
	if !ok || err != nil {
		return Operation{}, fmt.Errorf("%q is none of read, write, media, any and an operation code such as 0x2a", v)
	}
	return Operation{Class: Code, Code: scsi.OpCode(n)}, nil
}

// ParseAccess reads which accesses to an engine op= names.
func ParseAccess(v string) (Operation, error) {
	c, ok := map[string]Class{"read": Read, "write": Write, "flush": Flush}[v]
	if !ok {
		return Operation{}, fmt.Errorf("%q is none of read, write and flush", v)
	}
	return Operation{Class: c}, nil
}

// Covers tells whether o names an operation code.
func (o Operation) Covers(op scsi.OpCode) bool {
	switch o.Class {
	case Read:
		return Reads(op)
	case Write:
		return Changes(op)
	case Media:
		return Reads(op) || Changes(op) || Looks(op)
	case Code:
		return op == o.Code
	}
	return true
}
