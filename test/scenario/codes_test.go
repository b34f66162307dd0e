package scenario

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/fault/codes"
	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/vasa/wire"
)

// probes are commands of which at least one meets any rule of layer lu.
func (s *stage) probes() []initiator.Command {
	compare := cdb.Block{Op: scsi.OpCompareAndWrite, Blocks: 1}
	return []initiator.Command{
		{CDB: tur}, {CDB: read8, DataInLength: stageBytes}, {CDB: write8, DataOut: s.content},
		{CDB: compare.AppendTo(nil), DataOut: append(s.content[:512:512], s.content[:512]...)},
	}
}

// seen are the codes, as the table has them, of what a host gets from the first path's
// victim while a rule is there: of the statuses and sense data of all probes.
func (s *stage) seen() map[string]bool {
	s.t.Helper()
	all := map[string]bool{}
	for _, c := range s.probes() {
		r, err := s.v1.Execute(s.ctx, c.CDB, c.DataOut, c.DataInLength)
		var status *initiator.StatusError
		if initiator.SenseOf(err) == nil && !errors.As(err, &status) {
			require.NoError(s.t, err)
		}
		all[fmt.Sprintf("D:0x%x", uint8(r.Status))] = true
		if r.Status == scsi.StatusCheckCondition {
			parsed, err := scsi.ParseSense(r.SenseBytes)
			require.NoError(s.t, err)
			require.Equal(s.t, *r.Sense, parsed)
			all[codes.SenseCode(parsed)] = true
		}
	}
	return all
}

// senseOf finds the sense data from which a host makes a plug-in status.
var senseOf = regexp.MustCompile(`[0-9A-F]{2}/[0-9A-F]{2}/[0-9A-F]{2}`)

// TestCodes adds the rule of each entry of the table to an array, and compares what an
// initiator, or a client of the provider, gets with the entry: the table can't lie. What
// hosts see that nothing is done to stays as it was, and what broke heals.
func TestCodes(t *testing.T) {
	s := newStage(t)
	vcenter := newSite(s.lab)
	tested := map[codes.Kind]int{}
	for _, e := range codes.Table() {
		if e.Rule == "" {
			continue
		}
		tested[e.Kind]++
		rule := e.Rule
		op, _, _ := strings.Cut(strings.TrimPrefix(rule, "vasa op="), " ")
		usual := "" // how the operation ends
		if e.Kind == codes.Fault {
			_, usual = vcenter.faultOf(op)
		}
		if rest, ok := strings.CutPrefix(rule, "lu vvol=disk1 "); ok {
			rule = victimOnPath1 + rest
		}
		if e.Kind == codes.Host {
			seenByDriver(t, e, rule)
			continue
		}
		if e.Kind == codes.Event {
			seenByPeer(t, e)
			continue
		}
		f := s.addFault(rule)
		switch e.Kind {
		case codes.Sense, codes.Status:
			require.Contains(t, s.seen(), e.Code, rule)
		case codes.Plugin:
			want := senseOf.FindString(e.ESXi)
			require.NotEmpty(t, want, e.ESXi)
			require.Contains(t, s.seen(), want, rule)
		case codes.Login:
			require.Equal(t, e.Code, "0x"+pduStatus(s.refusedLogin()))
		case codes.Fault:
			name, text := vcenter.faultOf(op)
			require.Equal(t, e.Code, name)
			require.NotEqual(t, usual, text, "the rule is not to be told from the usual")
		}
		told := strings.Contains(rule, "-> alua ") || strings.Contains(rule, "-> unavailable")
		if told { // all paths of the host hear of the state of its ports
			s.attended(s.v2, scsi.AccessStateChanged)
		}
		if e.Kind == codes.Sense || e.Kind == codes.Status {
			s.othersUnharmed()
		}
		s.removeFault(f)
		if e.Kind == codes.Fault {
			_, text := vcenter.faultOf(op)
			require.Equal(t, usual, text, rule)
		}
		if told {
			s.attended(s.v1, scsi.AccessStateChanged)
			s.attended(s.v2, scsi.AccessStateChanged)
		}
		s.write(s.v2, 0, s.content)
	}
	s.healed()
	s.othersUnharmed()
	require.Greater(t, tested[codes.Sense], 90)
	for k, least := range map[codes.Kind]int{codes.Status: 4, codes.Host: 2, codes.Plugin: 5, codes.Login: 15, codes.Event: 3, codes.Fault: 23} {
		require.GreaterOrEqual(t, tested[k], least, k)
	}
}

// seenByDriver shows what makes a host's driver report a status: commands that are not
// answered on a session that lives, or no session, and none to be had.
func seenByDriver(t *testing.T, e codes.Entry, rule string) {
	s := newStage(t)
	f := s.addFault(rule)
	switch e.Name {
	case "ABORT":
		silent := s.send(tur, nil, 0)
		s.awaitHits(f, 1)
		s.silent(silent)
		s.abort(silent, 0)
		s.othersUnharmed()
	case "NO_CONNECT":
		err := s.v1.TestUnitReady(s.ctx)
		require.Error(t, err)
		require.Nil(t, initiator.SenseOf(err))
		_, err = net.Dial("tcp", s.a.Ready().ISCSI[0])
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		s.alive(s.v2)
	default:
		t.Fatalf("%s: nothing shows it", e.Code)
	}
	s.removeFault(f)
	s.unit(s.login("esx1", 0), s.v1.LUN().String())
}

// seenByPeer shows what a target tells that nobody has asked for, and that the other path
// hears nothing.
func seenByPeer(t *testing.T, e codes.Entry) {
	s := newRoads(t, ":memory:")
	f := s.addFault(e.Rule)
	require.Equal(t, e.Code, fmt.Sprintf("async %d", s.path1.async()[0]))
	s.works(s.path2)
	s.removeFault(f)
}

func (s *stage) refusedLogin() (status pdu.LoginStatus) {
	s.t.Helper()
	r := s.a.Ready()
	x, err := initiator.Dial(s.ctx, initiator.Options{Address: r.ISCSI[0], TargetName: r.IQN, InitiatorName: iqn("esx1")})
	if err == nil {
		_ = x.Close()
	}
	var refused *initiator.LoginError
	require.ErrorAs(s.t, err, &refused)
	return refused.Status
}

// faultOf is the fault with which an operation ends, whatever it is asked, and what it says;
// "" for none.
func (s *site) faultOf(op string) (name, text string) {
	s.t.Helper()
	request, needsMore := map[string]any{
		"activateProviderEx":                 &wire.ActivateProviderEx{ActivationSpec: wire.ActivationSpec{}},
		"bindVirtualVolume":                  &wire.BindVirtualVolume{VVolID: []string{"any"}, BindContext: wire.BindContextNormal},
		"createVirtualVolume":                &wire.CreateVirtualVolume{ContainerID: s.container, VVolType: wire.VirtualVolumeTypeData, SizeInMB: 1, Metadata: pairs([]string{"key", "value"})},
		"registerCACertificatesAndCRLs":      &wire.RegisterCACertificatesAndCRLs{ProviderUserName: s.a.Ready().VASA.User, ProviderPassword: s.a.Ready().VASA.Password, CARootCert: []string{s.vmca.PEM()}},
		"queryAssociatedStatisticsForEntity": &wire.QueryAssociatedStatisticsForEntity{EntityTypeName: wire.EntityTypeStorageArray, EntityID: []string{"any"}},
		"prepareToSnapshotVirtualVolume":     &wire.PrepareToSnapshotVirtualVolume{SnapType: wire.SnapTypeSnapshotReadOnly},
		"snapshotVirtualVolume":              &wire.SnapshotVirtualVolume{SnapshotInfo: []wire.VirtualVolumeInfo{{}}},
	}[op]
	if !needsMore {
		o := wire.Lookup(op)
		require.NotNil(s.t, o, op)
		request = o.NewRequest()
	}
	_, err := s.host("any").Call(s.ctx, request)
	f, refused := errors.AsType[*wire.SOAPFault](err)
	if !refused {
		require.NoError(s.t, err)
		return "", ""
	}
	text, _, _ = strings.Cut(f.Reason, " (request ")
	return wire.FaultName(f.Detail), text
}
