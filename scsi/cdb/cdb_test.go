package cdb

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// TestGolden compares CDBs with bytes written by hand after SBC-3 and SPC-4.
func TestGolden(t *testing.T) {
	for text, c := range map[string]Block{
		"080102030400":                     {Op: scsi.OpRead6, LBA: 0x10203, Blocks: 4},
		"0a0000000000":                     {Op: scsi.OpWrite6, Blocks: 256},
		"2a08000102030000050000"[:20]:      {Op: scsi.OpWrite10, Flags: FUA, LBA: 0x10203, Blocks: 5},
		"a810000000070001000000" + "00":    {Op: scsi.OpRead12, Flags: DPO, LBA: 7, Blocks: 0x10000},
		"8a000000000100000002000000080000": {Op: scsi.OpWrite16, LBA: 1<<32 | 2, Blocks: 8},
		"89000000000000000009000000010000": {Op: scsi.OpCompareAndWrite, LBA: 9, Blocks: 1},
		"9e120000000000000005000000180000": {Op: scsi.OpServiceActionIn16, Service: scsi.SAGetLBAStatus, LBA: 5, Blocks: 24},
		"93090000000000000000000008000000": {Op: scsi.OpWriteSame16, Flags: Unmap | NDOB, Blocks: 0x800},
	} {
		want, err := hex.DecodeString(text)
		require.NoError(t, err)
		require.Equal(t, text, hex.EncodeToString(c.AppendTo(nil)), c.String())
		var parsed Block
		parsed.Parse(want)
		require.Equal(t, c, parsed, text)
	}
	for text, c := range map[string]Parameter{
		"120183010000":             {Op: scsi.OpInquiry, Byte1: 1, Byte2: 0x83, Byte3: 1, Length: 256},
		"a00011000000000010000000": {Op: scsi.OpReportLUNs, Byte2: 0x11, Length: 4096},
		"42000000000000001800":     {Op: scsi.OpUnmap, Length: 24},
		"5f010500000000001800":     {Op: scsi.OpPersistentReserveOut, Byte1: 1, Byte2: 5, Length: 24},
	} {
		require.Equal(t, text, hex.EncodeToString(c.AppendTo(nil)), c.String())
		want, err := hex.DecodeString(text)
		require.NoError(t, err)
		var parsed Parameter
		require.True(t, parsed.Parse(want))
		require.Equal(t, c.Length, parsed.Length, text)
	}
}

// FuzzBlock parses anything and appends what parses back to the same.
func FuzzBlock(f *testing.F) {
	f.Add([]byte{0x28, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 16 {
			return
		}
		var c, again Block
		c.Parse(b)
		if c.Op.Length() == 0 {
			return
		}
		again.Parse(append(c.AppendTo(nil), make([]byte, 16)...))
		require.Equal(t, c, again)
	})
}

// FuzzParameter parses anything and appends what parses back to the same.
func FuzzParameter(f *testing.F) {
	for op := range lengths {
		f.Add(append([]byte{byte(op), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c, again Parameter
		if len(b) < 16 || !c.Parse(b) {
			return
		}
		// Bytes 2 and 3 are part of the length in some commands; what counts is that
		// the length survives.
		require.True(t, again.Parse(append(c.AppendTo(nil), make([]byte, 16)...)))
		require.Equal(t, c.Length, again.Length)
		require.Equal(t, c.Byte1, again.Byte1)
		require.Len(t, c.AppendTo(nil), c.Op.Length())
	})
}
