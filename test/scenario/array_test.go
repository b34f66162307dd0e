package scenario

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"vvsim/api"
	"vvsim/array"
	"vvsim/fault"
	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/network"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"), goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// lab is an array with what a story does to it.
type lab struct {
	t       testing.TB
	c       array.Config
	a       *array.Array
	ctx     context.Context
	http    *http.Client
	network *network.Network // nil: TCP
	clock   fault.Clock      // of fault rules; nil: the machine's
}

// newLab starts an array on free ports; data is a directory or ":memory:".
func newLab(t testing.TB, data string, edit func(*array.Config)) *lab {
	return newLabOn(nil, t, data, edit)
}

// newLabOn does so on a network in memory, for stories in a bubble.
func newLabOn(n *network.Network, t testing.TB, data string, edit func(*array.Config)) *lab {
	return newLabAt(nil, n, t, data, edit)
}

// newLabAt does so with a clock for fault rules.
func newLabAt(clock fault.Clock, n *network.Network, t testing.TB, data string, edit func(*array.Config)) *lab {
	c := array.DefaultConfig()
	c.Data, c.API.Addr, c.VASA.Addr = data, "127.0.0.1:0", "127.0.0.1:0"
	c.ISCSI.Portals = []string{"127.0.0.1:0", "127.0.0.1:0"}
	c.Store.JournalMiB = 16
	if edit != nil {
		edit(&c)
	}
	require.NoError(t, c.Validate())
	l := &lab{t: t, c: c, ctx: t.Context(), http: &http.Client{}, network: n, clock: clock}
	if n != nil {
		l.http.Transport = &http.Transport{DialContext: n.DialNetwork}
	}
	l.start()
	t.Cleanup(func() {
		require.NoError(t, l.a.Close(context.Background()))
		l.http.CloseIdleConnections()
	})
	return l
}

func (l *lab) start() {
	a, err := array.Open(l.ctx, l.c, "test", zap.NewNop())
	require.NoError(l.t, err)
	if l.clock != nil {
		a.UseFaultClock(l.clock)
	}
	if l.network != nil {
		a.ListenWith(l.network.Listen)
	}
	require.NoError(l.t, a.Start(l.ctx))
	l.a = a
}

// restart stops the array in order and starts it on the same data.
func (l *lab) restart() {
	require.NoError(l.t, l.a.Close(context.Background()))
	l.start()
}

// call sends a request to the API and decodes the answer; status 0 means any success.
func call[T any](l *lab, method, path string, body any, status int) (v T) {
	l.t.Helper()
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(l.t, err)
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(l.ctx, method, l.a.Ready().API+path, payload)
	require.NoError(l.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := l.http.Do(req)
	require.NoError(l.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(l.t, err)
	if status == 0 {
		require.Less(l.t, resp.StatusCode, 300, "%s %s: %s", method, path, b)
	} else {
		require.Equal(l.t, status, resp.StatusCode, "%s %s: %s", method, path, b)
	}
	if len(b) > 0 {
		require.NoError(l.t, json.Unmarshal(b, &v), "%s", b)
	}
	return v
}

func (l *lab) create(name string, size uint64) api.VVol {
	return call[api.VVol](l, "POST", "/api/v1/vvols", map[string]any{"container": "default", "sizeBytes": size, "name": name}, http.StatusCreated)
}

func (l *lab) bind(v api.VVol, host string) api.Binding {
	return call[api.Binding](l, "POST", "/api/v1/bindings", map[string]any{"vvol": v.ID, "initiator": iqn(host)}, http.StatusCreated)
}

func iqn(host string) string { return "iqn.1998-01.com.vmware:" + host }

// login opens a session of a host at a portal, from 0.
func (l *lab) login(host string, portal int) *initiator.Session {
	l.t.Helper()
	o := l.options(host)
	o.Address = l.a.Ready().ISCSI[portal]
	s, err := initiator.Dial(l.ctx, o)
	require.NoError(l.t, err)
	l.t.Cleanup(func() { _ = s.Close() })
	return s
}

// options are what a host logs in with; the address is open.
func (l *lab) options(host string) initiator.Options {
	o := initiator.Options{TargetName: l.a.Ready().IQN, InitiatorName: iqn(host)}
	if l.network != nil {
		o.Dialer = l.network.Dial
	}
	return o
}

// unit is a logical unit whose first attentions are cleared.
func (l *lab) unit(s *initiator.Session, lun string) *initiator.Unit {
	l.t.Helper()
	parsed, err := scsi.ParseLUN(lun)
	require.NoError(l.t, err)
	u := s.Unit(parsed)
	_, err = u.ClearAttentions(l.ctx)
	require.NoError(l.t, err)
	return u
}

// sense is the sense of a command that has to fail, as "5/25/00".
func (l *lab) sense(err error) string {
	l.t.Helper()
	s := initiator.SenseOf(err)
	require.NotNil(l.t, s, "%v", err)
	return fmt.Sprintf("%x/%v", uint8(s.Key), s.Code)
}

func (l *lab) write(u *initiator.Unit, off int64, p []byte) {
	l.t.Helper()
	_, err := u.WriteAt(l.ctx, p, off, false)
	require.NoError(l.t, err)
}

func (l *lab) holds(u *initiator.Unit, off int64, want []byte) {
	l.t.Helper()
	p := make([]byte, len(want))
	_, err := u.ReadAt(l.ctx, p, off)
	require.NoError(l.t, err)
	require.True(l.t, bytes.Equal(want, p), "content at %d differs", off)
}

func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// TestFirstWall walks through all layers: create, bind, write, restart, read,
// unbind, and the device is gone.
func TestFirstWall(t *testing.T) {
	l := newLab(t, t.TempDir(), nil)
	v := l.create("disk1", 64<<20)
	b := l.bind(v, "esx1")
	require.Equal(t, uint16(256), b.PELUN)
	require.Equal(t, "0xe20000000001", b.SecondaryID)
	require.Equal(t, "0100e20000000001", b.LUN)
	require.Equal(t, b.ID, l.bind(v, "esx1").ID, "a binding is returned as it is")

	data := random(1, 1<<20)
	s := l.login("esx1", 0)
	u := l.unit(s, b.LUN)
	l.write(u, 512, data)
	l.holds(u, 512, data)
	require.NoError(t, s.Logout(t.Context()))

	l.restart()
	s = l.login("esx1", 1)
	u = l.unit(s, b.LUN)
	l.holds(u, 512, data)

	inquiry, err := u.Inquiry(t.Context())
	require.NoError(t, err)
	require.NotZero(t, inquiry.Raw[1]&0x40, "LU_CONG of a subsidiary LU")
	call[any](l, "DELETE", "/api/v1/bindings/"+b.ID, nil, http.StatusNoContent)
	require.Equal(t, "5/25/00", l.sense(u.TestUnitReady(t.Context())))
	call[any](l, "DELETE", "/api/v1/vvols/"+v.ID, nil, http.StatusNoContent)
	call[any](l, "GET", "/api/v1/vvols/"+v.ID, nil, http.StatusNotFound)
}

// TestBindingIsPrivate shows that a host sees its own bindings and nothing of
// others, and hears of a bind on its protocol endpoint alone.
func TestBindingIsPrivate(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	v1, v2 := l.create("a", 1<<20), l.create("b", 1<<20)
	b1 := l.bind(v1, "esx1")
	s1, s2 := l.login("esx1", 0), l.login("esx2", 0)
	pe1, pe2 := l.unit(s1, "0100000000000000"), l.unit(s2, "0100000000000000")
	u1 := l.unit(s1, b1.LUN)

	list, err := pe1.ReportLUNs(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, []string{b1.LUN}, luns(list))
	list, err = pe2.ReportLUNs(t.Context(), 0)
	require.NoError(t, err)
	require.Empty(t, list)
	require.Equal(t, "5/25/00", l.sense(l.absent(s2, b1.LUN).TestUnitReady(t.Context())), "another host's binding")

	b2 := l.bind(v2, "esx1")
	require.Equal(t, "6/3F/0E", l.sense(pe1.TestUnitReady(t.Context())))
	require.NoError(t, pe1.TestUnitReady(t.Context()))
	require.NoError(t, pe2.TestUnitReady(t.Context()))
	require.NoError(t, u1.TestUnitReady(t.Context()), "a sister hears nothing")

	list, err = pe1.ReportLUNs(t.Context(), 0x12)
	require.NoError(t, err)
	require.Equal(t, []string{"0100000000000000", b1.LUN, b2.LUN}, luns(list))
	list, err = s1.Unit(scsi.LUN{}).ReportLUNs(t.Context(), 0x11)
	require.NoError(t, err)
	require.Equal(t, []string{"0100000000000000"}, luns(list))

	for _, form := range []string{"0100000200000000", "0100d20000020000", b2.LUN} {
		l.unit(s1, form) // 2-, 4- and 6-byte forms of the secondary id
	}
	for _, form := range []string{"4100000000000000", "0100000200000001", "01000003ffffffff", "ffffffffffffffff", "8001000000000000"} {
		require.Equal(t, "5/25/00", l.sense(l.absent(s1, form).TestUnitReady(t.Context())), form)
	}
}

func luns(list []scsi.LUN) (all []string) {
	for _, l := range list {
		all = append(all, l.String())
	}
	return all
}

// absent is a unit without anything cleared.
func (l *lab) absent(s *initiator.Session, lun string) *initiator.Unit {
	parsed, err := scsi.ParseLUN(lun)
	require.NoError(l.t, err)
	return s.Unit(parsed)
}

// TestSnapshotsAndClones follows a volume, its snapshot, and a clone of that.
func TestSnapshotsAndClones(t *testing.T) {
	for _, data := range []string{":memory:", "badger"} {
		t.Run(data, func(t *testing.T) {
			if data == "badger" {
				data = t.TempDir()
			}
			l := newLab(t, data, nil)
			v := l.create("disk", 16<<20)
			s := l.login("esx1", 0)
			u := l.unit(s, l.bind(v, "esx1").LUN)
			first, second := random(1, 256<<10), random(2, 256<<10)
			l.write(u, 0, first)
			snapshot := call[api.VVol](l, "POST", "/api/v1/vvols/"+v.ID+"/snapshot", nil, http.StatusCreated)
			require.Equal(t, v.ID, snapshot.SnapshotOf)
			l.write(u, 0, second)
			diff := call[[]api.Range](l, "GET", "/api/v1/vvols/"+v.ID+"/ranges?base="+snapshot.ID, nil, 0)
			require.Equal(t, []api.Range{{Offset: 0, Length: 256 << 10}}, diff)

			clone := call[api.VVol](l, "POST", "/api/v1/vvols/"+snapshot.ID+"/fast-clone", map[string]any{"name": "c"}, http.StatusCreated)
			uc := l.unit(s, l.bind(clone, "esx1").LUN)
			us := l.unit(s, l.bind(snapshot, "esx1").LUN)
			l.holds(uc, 0, first)
			l.holds(us, 0, first)
			_, err := us.WriteAt(t.Context(), first, 0, false)
			require.Equal(t, "7/27/00", l.sense(err), "a snapshot is read-only")
			l.write(uc, 0, second[:4096])
			l.holds(us, 0, first)

			unbindAll(l, v.ID)
			call[api.VVol](l, "POST", "/api/v1/vvols/"+v.ID+"/revert", map[string]any{"snapshot": snapshot.ID}, 0)
			u = l.unit(s, l.bind(v, "esx1").LUN)
			l.holds(u, 0, first)
		})
	}
}

func unbindAll(l *lab, id string) {
	for _, b := range call[api.VVol](l, "GET", "/api/v1/vvols/"+id, nil, 0).Bindings {
		call[any](l, "DELETE", "/api/v1/bindings/"+b.ID, nil, http.StatusNoContent)
	}
}

// TestExtendedCopy copies between two volumes inside the array.
func TestExtendedCopy(t *testing.T) {
	l := newLab(t, t.TempDir(), nil)
	a, b := l.create("a", 8<<20), l.create("b", 8<<20)
	s := l.login("esx1", 0)
	ua, ub := l.unit(s, l.bind(a, "esx1").LUN), l.unit(s, l.bind(b, "esx1").LUN)
	data := random(3, 1<<20)
	l.write(ua, 0, data)
	require.NoError(t, l.extendedCopy(ua, ua, ub, copySegment{blocks: len(data) / 512}))
	l.holds(ub, 0, data)
}

// copySegment is a range of logical blocks that EXTENDED COPY copies.
type copySegment struct{ from, to, blocks int }

// extendedCopy is EXTENDED COPY(LID1) (SPC-4 6.4), sent to manager: an identification descriptor
// for source and one for destination, and a block to block segment for each range.
func (l *lab) extendedCopy(manager, source, destination *initiator.Unit, segments ...copySegment) error {
	l.t.Helper()
	list := []byte{1, 0, 0, 64, 0, 0, 0, 0, 0, 0, byte(28 * len(segments) >> 8), byte(28 * len(segments)), 0, 0, 0, 0}
	for _, u := range []*initiator.Unit{source, destination} {
		designators, err := u.Designators(l.ctx)
		require.NoError(l.t, err)
		at := slices.IndexFunc(designators, func(d initiator.Designator) bool { return d.CodeSet == 1 && d.Type == 3 && len(d.ID) == 16 })
		require.GreaterOrEqual(l.t, at, 0, "no NAA designator in %v", designators)
		list = append(append(list, 0xe4, 0, 0, 0, 1, 3, 0, 16), designators[at].ID...)
		list = append(list, 0, 0, 0, 0, 0, 0, 2, 0) // blocks of 512
	}
	for _, s := range segments {
		list = append(list, 2, 0, 0, 24, 0, 0, 0, 1, 0, 0, byte(s.blocks>>8), byte(s.blocks))
		list = binary.BigEndian.AppendUint64(list, uint64(s.from))
		list = binary.BigEndian.AppendUint64(list, uint64(s.to))
	}
	return manager.ParameterOut(l.ctx, cdb.Parameter{Op: scsi.OpExtendedCopy}, list)
}

// TestReservationSurvivesRestart keeps a registration with APTPL.
func TestReservationSurvivesRestart(t *testing.T) {
	l := newLab(t, t.TempDir(), nil)
	v := l.create("disk", 1<<20)
	lun := l.bind(v, "esx1").LUN
	register := func(u *initiator.Unit) error {
		list := make([]byte, 24)
		list[15], list[20] = 0x42, 0x01 // key 42h, APTPL
		_, err := u.Execute(t.Context(), []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, list, 0)
		return err
	}
	s := l.login("esx1", 0)
	require.NoError(t, register(l.unit(s, lun)))
	require.NoError(t, s.Close())
	l.restart()
	keys, err := l.unit(l.login("esx1", 0), lun).PersistentReserveIn(t.Context(), 0)
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(keys, []byte{0, 0, 0, 0, 0, 0, 0, 0x42}), "%x", keys)
}

// TestFlatAlias serves a volume to an initiator that knows no subsidiary LUNs.
func TestFlatAlias(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	v := l.create("disk", 1<<20)
	m := call[api.LUN](l, "POST", "/api/v1/luns", map[string]any{"vvol": v.ID}, http.StatusCreated)
	require.Zero(t, m.LUN)
	s := l.login("linux", 0)
	u := l.unit(s, "0000000000000000")
	inquiry, err := u.Inquiry(t.Context())
	require.NoError(t, err)
	require.Zero(t, inquiry.Raw[1]&0x40, "an ordinary disk is in no conglomerate")
	data := random(4, 8192)
	l.write(u, 4096, data)
	l.holds(l.unit(s, l.bind(v, "linux").LUN), 4096, data)
	call[any](l, "DELETE", "/api/v1/luns/0", nil, http.StatusNoContent)
	require.Equal(t, "5/25/00", l.sense(u.TestUnitReady(t.Context())))
}

// TestResizeRaisesAttention tells initiators of a new capacity.
func TestResizeRaisesAttention(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	v := l.create("disk", 1<<20)
	u := l.unit(l.login("esx1", 0), l.bind(v, "esx1").LUN)
	call[api.VVol](l, "POST", "/api/v1/vvols/"+v.ID+"/resize", map[string]any{"sizeBytes": 2 << 20}, 0)
	require.Equal(t, "6/2A/09", l.sense(u.TestUnitReady(t.Context())))
	g, err := u.ReadCapacity(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 4096, g.Blocks)
}

// TestContainerFull answers a full pool with 07/27/07.
func TestContainerFull(t *testing.T) {
	l := newLab(t, t.TempDir(), nil)
	call[api.Container](l, "POST", "/api/v1/containers", map[string]any{"name": "small", "sizeBytes": 1 << 20}, http.StatusCreated)
	v := call[api.VVol](l, "POST", "/api/v1/vvols", map[string]any{"container": "small", "sizeBytes": 16 << 20}, http.StatusCreated)
	u := l.unit(l.login("esx1", 0), l.bind(v, "esx1").LUN)
	l.write(u, 0, random(5, 1<<20))
	_, err := u.WriteAt(t.Context(), random(6, 4096), 1<<20, false)
	require.Equal(t, "7/27/07", l.sense(err))
	l.write(u, 0, random(7, 4096)) // what is there may be written again
}

// TestAccess shows who may log in (contract.md 6).
func TestAccess(t *testing.T) {
	l := newLab(t, ":memory:", func(c *array.Config) {
		c.ISCSI.Initiators = []array.Initiator{{IQN: iqn("esx1"), CHAP: &array.CHAP{User: "esx1", Secret: "one-secret-of-12"},
			Mutual: &array.CHAP{User: "array", Secret: "another-secret-12"}}}
	})
	r := l.a.Ready()
	o := initiator.Options{Address: r.ISCSI[0], TargetName: r.IQN, InitiatorName: iqn("esx1"),
		CHAP:       &initiator.CHAP{User: "esx1", Secret: []byte("one-secret-of-12")},
		MutualCHAP: &initiator.CHAP{User: "array", Secret: []byte("another-secret-12")}}
	s, err := initiator.Dial(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, s.Close())

	wrong := o
	wrong.CHAP, wrong.MutualCHAP = &initiator.CHAP{User: "esx1", Secret: []byte("not-the-secret-12")}, nil
	require.Equal(t, uint16(0x0201), loginStatus(t, wrong))
	stranger := o
	stranger.InitiatorName = iqn("esx2")
	require.Equal(t, uint16(0x0202), loginStatus(t, stranger))
	elsewhere := o
	elsewhere.TargetName = "iqn.2000-01.org.example:other"
	require.Equal(t, uint16(0x0203), loginStatus(t, elsewhere))
}

func loginStatus(t *testing.T, o initiator.Options) uint16 {
	_, err := initiator.Dial(t.Context(), o)
	var refused *initiator.LoginError
	require.ErrorAs(t, err, &refused)
	return uint16(refused.Status)
}

// TestKnobs changes a setting while the array runs.
func TestKnobs(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	s := l.login("esx1", 0)
	const unbound = "0100e20000000009"
	require.Equal(t, "5/25/00", l.sense(l.absent(s, unbound).TestUnitReady(t.Context())))
	call[map[string]any](l, "PATCH", "/api/v1/knobs", map[string]any{"unbound_sense": "68/01"}, 0)
	require.Equal(t, "5/68/01", l.sense(l.absent(s, unbound).TestUnitReady(t.Context())))
	call[map[string]any](l, "PATCH", "/api/v1/knobs", map[string]any{"unbound_sense": "25/01"}, http.StatusBadRequest)
	call[map[string]any](l, "PATCH", "/api/v1/knobs", map[string]any{"nonsense": true}, http.StatusBadRequest)
}

// TestDirectoryIsExclusive refuses a second array on the same data.
func TestDirectoryIsExclusive(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, dir, nil)
	_, err := array.Open(t.Context(), l.c, "test", zap.NewNop())
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "in use")
}

// TestConfigErrors name what is wrong and where.
func TestConfigErrors(t *testing.T) {
	file := t.TempDir() + "/vvsim.yaml"
	for text, want := range map[string]string{
		"iscsi:\n  portalz: [x]\n":                      "line 2: unknown key iscsi.portalz",
		"store:\n  durability: maybe\n":                 "store.durability",
		"api:\n  addr: 0.0.0.0:8474\n":                  "api.token",
		"iscsi:\n  portals: [\"0.0.0.0:3260\"]\n":       "iscsi.allow_anonymous",
		"iscsi:\n  chap: {user: u, secret: short}\n":    "12 to 255",
		"protocol_endpoints: [{name: a, lun: 20000}]\n": "protocol_endpoints[0].lun",
		"esxi:\n  pe_media: maybe\n":                    "esxi.pe_media",
		"iscsi:\n  portals: [\"127.0.0.1:port\"]\n":     "iscsi.portals[0]",
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := array.LoadConfig(file, nil, nil)
		require.ErrorIs(t, err, array.ErrConfig, text)
		require.ErrorContains(t, err, want)
		require.NotContains(t, strings.TrimSpace(err.Error()), "\n")
	}
	c, err := array.LoadConfig("", []string{"VVSIM_DATA=/from/variable", "VVSIM_ISCSI=127.0.0.1:1,127.0.0.1:2"}, map[string]string{"data": "/from/flag"})
	require.NoError(t, err)
	require.Equal(t, "/from/flag", c.Data)
	require.Equal(t, []string{"127.0.0.1:1", "127.0.0.1:2"}, c.ISCSI.Portals)
}
