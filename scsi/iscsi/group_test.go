package iscsi

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// writes are n writes of a block each, from block 0 on, as one piece of bytes.
func (c *client) writes(n int, data []byte) (b []byte) {
	for i := range n {
		p := c.command(rw10(0x2a, i, 1))
		p.Write, p.ExpectedDataLength, p.DataLength = true, testBlock, testBlock
		b = append(b, c.wire(p.AppendTo(nil), nil, data[i*testBlock:(i+1)*testBlock])...)
	}
	return b
}

// TestWritesGoTogether sends many writes at once and reads them back.
func TestWritesGoTogether(t *testing.T) {
	f := serve(t, nil)
	c := f.session(t)
	const n = 200
	data := pattern(n * testBlock)
	for range 5 {
		_, err := c.nc.Write(c.writes(n, data))
		require.NoError(t, err)
		for range n {
			r, _ := c.response()
			require.Equal(t, scsi.StatusGood, r.Status)
		}
	}
	got, _, _ := c.read(0, n, len(data))
	require.True(t, bytes.Equal(data, got))
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	require.Equal(t, 5*n, f.disk.writes)
	require.Greater(t, f.disk.together, 1)
	require.LessOrEqual(t, f.disk.together, maxGroup)
}

// TestEndBehindWrites ends the session by what stands behind writes in the same bytes:
// the writes leave the device all the same. Seen to fail without giveAway in cleanUp.
func TestEndBehindWrites(t *testing.T) {
	for name, end := range map[string]func(c *client) []byte{
		"logout": func(c *client) []byte {
			return (&pdu.LogoutRequest{Immediate: true, TaskTag: 99, CmdSN: c.cmdSN}).AppendTo(nil)
		},
		"login":   func(c *client) []byte { return (&pdu.LoginRequest{TaskTag: 99, CmdSN: c.cmdSN}).AppendTo(nil) },
		"garbage": func(*client) []byte { return bytes.Repeat([]byte{0xff}, pdu.HeaderLength) },
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, nil)
			c := f.session(t)
			_, err := c.nc.Write(append(c.writes(8, pattern(8*testBlock)), end(c)...))
			require.NoError(t, err)
			c.closed()
			f.disk.mu.Lock()
			defer f.disk.mu.Unlock()
			for len(f.disk.tasks) > 0 {
				f.disk.changed.Wait()
			}
			require.Len(t, f.disk.lost, 1)
		})
	}
}
