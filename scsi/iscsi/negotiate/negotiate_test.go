package negotiate

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi/iscsi/pdu"
)

func keysOf(pairs ...string) (k pdu.Keys) {
	for i := 0; i < len(pairs); i += 2 {
		k.Add(pairs[i], pairs[i+1])
	}
	return k
}

// RFC 7143 13: offers and results.
func TestNegotiate(t *testing.T) {
	for _, r := range []struct {
		offer, want pdu.Keys
		discovery   bool
	}{
		{offer: keysOf("HeaderDigest", "CRC32C,None", "DataDigest", "None"), want: keysOf("HeaderDigest", "CRC32C", "DataDigest", "None")},
		{offer: keysOf("HeaderDigest", "X-mine"), want: keysOf("HeaderDigest", "Reject")},
		{offer: keysOf("MaxConnections", "8", "ErrorRecoveryLevel", "2", "DefaultTime2Wait", "0", "DefaultTime2Retain", "20"),
			want: keysOf("MaxConnections", "1", "ErrorRecoveryLevel", "0", "DefaultTime2Wait", "2", "DefaultTime2Retain", "0")},
		{offer: keysOf("InitialR2T", "Yes", "ImmediateData", "No"), want: keysOf("InitialR2T", "Yes", "ImmediateData", "No")},
		{offer: keysOf("InitialR2T", "No", "ImmediateData", "Yes"), want: keysOf("InitialR2T", "No", "ImmediateData", "Yes")},
		{offer: keysOf("InitialR2T", "yes"), want: keysOf("InitialR2T", "Reject")},
		{offer: keysOf("DataPDUInOrder", "No", "DataSequenceInOrder", "No"), want: keysOf("DataPDUInOrder", "Yes", "DataSequenceInOrder", "Yes")},
		{offer: keysOf("MaxBurstLength", "16776192", "FirstBurstLength", "0x40000"), want: keysOf("MaxBurstLength", "1048576", "FirstBurstLength", "262144")},
		{offer: keysOf("FirstBurstLength", "262144", "MaxBurstLength", "65536"), want: keysOf("FirstBurstLength", "65536", "MaxBurstLength", "65536")},
		{offer: keysOf("MaxBurstLength", "511"), want: keysOf("MaxBurstLength", "Reject")},
		{offer: keysOf("MaxBurstLength", "0x"), want: keysOf("MaxBurstLength", "Reject")},
		{offer: keysOf("MaxOutstandingR2T", "010"), want: keysOf("MaxOutstandingR2T", "8")},
		{offer: keysOf("MaxRecvDataSegmentLength", "262144"), want: nil},
		{offer: keysOf("MaxRecvDataSegmentLength", "16777216"), want: keysOf("MaxRecvDataSegmentLength", "Reject")},
		{offer: keysOf("TaskReporting", "FastAbort,RFC3720"), want: keysOf("TaskReporting", "RFC3720")},
		{offer: keysOf("iSCSIProtocolLevel", "2"), want: keysOf("iSCSIProtocolLevel", "1")},
		{offer: keysOf("IFMarker", "Yes", "X-org.example.key", "1"), want: keysOf("IFMarker", "No", "X-org.example.key", "NotUnderstood")},
		{offer: keysOf("InitialR2T", "No", "HeaderDigest", "None"), want: keysOf("InitialR2T", "Irrelevant", "HeaderDigest", "None"), discovery: true},
	} {
		p := Default()
		got, err := p.Negotiate(r.offer, r.discovery, map[string]bool{})
		require.NoError(t, err)
		require.Equal(t, r.want, got, "%v", r.offer)
		require.LessOrEqual(t, p.FirstBurst, p.MaxBurst)
	}
	p := Default()
	_, err := p.Negotiate(keysOf("TargetPortalGroupTag", "1"), false, map[string]bool{})
	require.ErrorIs(t, err, ErrProtocol)
	done := map[string]bool{}
	_, err = p.Negotiate(keysOf("ErrorRecoveryLevel", "0"), false, done)
	require.NoError(t, err)
	_, err = p.Negotiate(keysOf("ErrorRecoveryLevel", "0"), false, done)
	require.ErrorIs(t, err, ErrProtocol)
}

func FuzzNegotiate(f *testing.F) {
	f.Add(keysOf("HeaderDigest", "CRC32C,None", "MaxBurstLength", "0x1000", "FirstBurstLength", "262144", "InitialR2T", "No").AppendTo(nil), true)
	f.Add(keysOf("MaxRecvDataSegmentLength", "512", "X-a", "b").AppendTo(nil), false)
	f.Fuzz(func(t *testing.T, text []byte, discovery bool) {
		keys, err := pdu.ParseKeys(text)
		if err != nil {
			return
		}
		p := Default()
		answers, err := p.Negotiate(keys, discovery, map[string]bool{})
		if err != nil {
			return
		}
		if p.MaxSend < 512 || p.MaxSend > 1<<24-1 || p.MaxBurst < 512 || p.MaxBurst > maxBurst || p.FirstBurst < 512 ||
			p.FirstBurst > p.MaxBurst || p.MaxR2T < 1 || p.MaxR2T > maxOutstandingR2T {
			t.Fatalf("%+v", p)
		}
		if len(answers) > len(keys) {
			t.Fatalf("%d answers to %d keys", len(answers), len(keys))
		}
	})
}
