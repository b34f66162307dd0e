package command

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// Every operation code that does something to blocks, and what.
func TestClasses(t *testing.T) {
	want := map[scsi.OpCode]string{
		scsi.OpRead6: "reads fetches named", scsi.OpRead10: "reads fetches named", scsi.OpRead12: "reads fetches named", scsi.OpRead16: "reads fetches named",
		scsi.OpWrite6: "stores carries changes rewrites named", scsi.OpWrite10: "stores carries changes rewrites named",
		scsi.OpWrite12: "stores carries changes rewrites named", scsi.OpWrite16: "stores carries changes rewrites named",
		scsi.OpWriteAtomic16: "stores carries changes rewrites named", scsi.OpWriteAndVerify10: "stores carries changes rewrites named",
		scsi.OpWriteAndVerify12: "stores carries changes rewrites named", scsi.OpWriteAndVerify16: "stores carries changes rewrites named",
		scsi.OpWriteSame10: "carries changes rewrites named", scsi.OpWriteSame16: "carries changes rewrites named",
		scsi.OpOrWrite16: "carries changes fetches named", scsi.OpCompareAndWrite: "carries changes fetches named",
		scsi.OpUnmap: "changes", scsi.OpExtendedCopy: "changes", scsi.OpSanitize: "changes",
		scsi.OpVerify10: "looks fetches named", scsi.OpVerify12: "looks fetches named", scsi.OpVerify16: "looks fetches named",
		scsi.OpPreFetch10: "looks named", scsi.OpPreFetch16: "looks named",
		scsi.OpSynchronizeCache10: "looks named", scsi.OpSynchronizeCache16: "looks named",
	}
	for n := range 256 {
		op, got := scsi.OpCode(n), []string(nil)
		for _, c := range []struct {
			name string
			is   func(scsi.OpCode) bool
		}{{"reads", Reads}, {"stores", Stores}, {"carries", Carries}, {"looks", Looks}, {"changes", Changes}, {"rewrites", Rewrites}, {"fetches", Fetches}, {"named", NamesBlocks}} {
			if c.is(op) {
				got = append(got, c.name)
			}
		}
		require.Equal(t, want[op], strings.Join(got, " "), "%v", op)
	}
}

func TestRange(t *testing.T) {
	for _, c := range []struct {
		op     scsi.OpCode
		blocks uint32
		n      uint64
	}{
		{scsi.OpRead16, 8, 8}, {scsi.OpRead16, 0, 0}, {scsi.OpWrite16, 0, 0}, {scsi.OpWrite10, 1, 1},
		{scsi.OpWriteSame16, 0, 1<<64 - 1 - 5}, {scsi.OpSynchronizeCache16, 0, 1<<64 - 1 - 5}, {scsi.OpSynchronizeCache10, 3, 3},
	} {
		b := cdb.Block{Op: c.op, LBA: 5, Blocks: c.blocks}
		lba, n := Range(b.AppendTo(nil))
		require.EqualValues(t, 5, lba)
		require.Equal(t, c.n, n, "%v", c.op)
	}
}

func TestAnswered(t *testing.T) {
	for _, c := range []struct {
		cdb             []byte
		always, standby bool
	}{
		{[]byte{0x12}, true, false}, {[]byte{0xa0}, true, false}, {[]byte{0x03}, true, false},
		{[]byte{0xa3, 0x0a}, true, true}, {[]byte{0xa3, 0x2a}, true, true}, {[]byte{0xa3, 0x0c}, false, true}, {[]byte{0xa3}, false, true},
		{[]byte{0xa4, 0x0a}, true, false}, {[]byte{0xa4, 0x06}, false, false},
		{[]byte{0x1a}, false, true}, {[]byte{0x9e, 0x10}, false, true}, {[]byte{0x9e, 0x12}, false, false}, {[]byte{0x25}, false, true},
		{[]byte{0x00}, false, false}, {[]byte{0x28}, false, false}, {[]byte{0x5f}, false, true},
	} {
		require.Equal(t, c.always, AnsweredAlways(c.cdb), "%x", c.cdb)
		require.Equal(t, c.standby, AnsweredInStandby(c.cdb), "%x", c.cdb)
	}
}

// What op= says, of commands and of accesses to an engine, and which commands each covers.
func TestOperations(t *testing.T) {
	for text, want := range map[string][]scsi.OpCode{
		"read":  {scsi.OpRead10},
		"write": {scsi.OpWrite10, scsi.OpUnmap},
		"media": {scsi.OpRead10, scsi.OpWrite10, scsi.OpUnmap, scsi.OpVerify10},
		"any":   {scsi.OpRead10, scsi.OpWrite10, scsi.OpUnmap, scsi.OpVerify10, scsi.OpInquiry},
		"0x12":  {scsi.OpInquiry},
	} {
		o, err := ParseOperation(text)
		require.NoError(t, err)
		var got []scsi.OpCode
		for _, op := range []scsi.OpCode{scsi.OpRead10, scsi.OpWrite10, scsi.OpUnmap, scsi.OpVerify10, scsi.OpInquiry} {
			if o.Covers(op) {
				got = append(got, op)
			}
		}
		require.Equal(t, want, got, text)
	}
	for text, want := range map[string]Class{"read": Read, "write": Write, "flush": Flush} {
		o, err := ParseAccess(text)
		require.NoError(t, err)
		require.Equal(t, Operation{Class: want}, o)
	}
	for _, text := range []string{"", "0x", "0x100", "12", "erase", "flush", "0xzz"} {
		_, err := ParseOperation(text)
		require.ErrorContains(t, err, "is none of read, write, media, any and an operation code")
	}
	for _, text := range []string{"", "any", "media", "0x12"} {
		_, err := ParseAccess(text)
		require.ErrorContains(t, err, "is none of read, write and flush")
	}
}
