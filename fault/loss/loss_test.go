package loss

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// What commands get of each loss.
func TestLoss(t *testing.T) {
	for _, s := range Senses() {
		require.True(t, Known(s))
		absent := s.Key == scsi.IllegalRequest
		require.Equal(t, absent, Absent(s))
		for op, meets := range map[scsi.OpCode]bool{scsi.OpReportLUNs: false, scsi.OpInquiry: absent, scsi.OpRequestSense: absent,
			scsi.OpTestUnitReady: true, scsi.OpRead16: true, scsi.OpMaintenanceIn: true} {
			require.Equal(t, meets, Meets(s, op), "%v %v", s, op)
		}
		r := Answer(s, &scsi.Task{CDB: make([]byte, 16)})
		require.Equal(t, s, *r.Sense)
		for _, length := range []byte{0, 8, 252} {
			for _, descriptor := range []byte{0, 1} {
				r = Answer(s, &scsi.Task{CDB: []byte{0x03, descriptor, 0, 0, length, 0}, ExpectedIn: uint32(length)})
				require.Equal(t, scsi.StatusGood, r.Status)
				require.EqualValues(t, len(r.DataIn.Bytes()), r.TransferLength)
				if length == 252 {
					parsed, err := scsi.ParseSense(r.DataIn.Bytes())
					require.NoError(t, err)
					require.Equal(t, s, parsed)
				}
			}
		}
	}
	require.False(t, Known(scsi.Sense(scsi.MediumError, scsi.UnrecoveredReadError)))
	require.Equal(t, byte(0x7f), Inquiry(scsi.Response{DataIn: scsi.BufferOf([]byte{0})}).DataIn.Bytes()[0])
	require.Nil(t, Inquiry(scsi.Response{}).DataIn)
}
