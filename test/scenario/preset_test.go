package scenario

import (
	"bytes"
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/fault/preset"
	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/scsi/iscsi/host/clock"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/vasa"
	"vvsim/vasa/vasatest"
)

// frozen is a clock for fault rules that stands still until a test steps it.
type frozen struct{ *clock.Clock }

func (f frozen) After(d time.Duration, g func()) func() bool { return f.AfterFunc(d, g).Stop }

// play is a preset on a stage.
type play struct {
	*stage
	clock frozen
	p     preset.Preset
	rules []api.Fault
}

// with adds the rules of a way.
func (s *play) with(way string, values map[preset.Parameter]string) {
	s.t.Helper()
	body := map[string]any{"way": way}
	for name, value := range values {
		body[string(name)] = value
	}
	s.rules = call[api.PlayedPreset](s.lab, "POST", "/api/v1/fault-presets/"+s.p.Name, body, http.StatusCreated).Added
	w, err := s.p.Way(way)
	require.NoError(s.t, err)
	require.Len(s.t, s.rules, len(w.Rules))
}

// heal removes the rules.
func (s *play) heal() {
	s.t.Helper()
	for _, f := range s.rules {
		s.removeFault(f)
	}
}

// rejoin logs in anew, where sessions were lost, and shows that all is as ever.
func (s *play) rejoin() {
	s.t.Helper()
	s.reconnect()
	s.healed()
	s.othersUnharmed()
}

// calm takes the unit attentions that tell of the state of ports.
func (s *play) calm() {
	s.t.Helper()
	for _, u := range []*initiator.Unit{s.v1, s.v2, s.vh, s.sister, s.pe} {
		_, _ = u.ClearAttentions(s.ctx) // that end with 02/04/0x
	}
}

// losses plays the ways of a permanent loss, each with its sense data: victims have it, and
// unharmed shows the others.
func (s *play) losses(values map[preset.Parameter]string, victims []*initiator.Unit, unharmed func()) {
	s.t.Helper()
	for _, code := range []string{"05/25/00", "04/4C/00", "04/3E/01", "04/3E/03", "05/68/01"} {
		s.with(code, values)
		for _, u := range victims {
			require.Equal(s.t, code, "0"+s.sense(u.TestUnitReady(s.ctx)))
			_, err := u.ReadAt(s.ctx, make([]byte, 512), 0)
			require.Equal(s.t, code, "0"+s.sense(err))
		}
		unharmed()
		s.heal()
		s.alive(victims...)
	}
}

// dead shows sessions that have ended.
func (s *play) dead(units ...*initiator.Unit) {
	s.t.Helper()
	for _, u := range units {
		err := u.TestUnitReady(s.ctx)
		require.Error(s.t, err)
		require.Nil(s.t, initiator.SenseOf(err))
	}
}

// refusedWith shows logins that are refused.
func (s *play) refusedWith(status pdu.LoginStatus, host string) {
	s.t.Helper()
	r := s.a.Ready()
	require.Eventually(s.t, func() bool { // the connection may be reset first
		x, err := initiator.Dial(s.ctx, initiator.Options{Address: r.ISCSI[0], TargetName: r.IQN, InitiatorName: iqn(host)})
		if err == nil {
			_ = x.Close()
		}
		var refused *initiator.LoginError
		return errors.As(err, &refused) && refused.Status == status
	}, time.Minute, time.Millisecond)
}

// elsewhere is a volume in a container of its own, as the first host has it.
func (s *play) elsewhere(container string) *initiator.Unit {
	s.t.Helper()
	call[api.Container](s.lab, "POST", "/api/v1/containers", map[string]any{"name": container, "sizeBytes": 1 << 30}, http.StatusCreated)
	v := call[api.VVol](s.lab, "POST", "/api/v1/vvols", map[string]any{"container": container, "sizeBytes": 8 << 20, "name": "elsewhere"}, http.StatusCreated)
	u := s.unit(s.path1, s.bind(v, "esx1").LUN)
	s.attended(s.pe, scsi.ReportedLUNsDataChanged)
	return u
}

// closed shows portals that refuse connections.
func (s *play) closed(portals ...int) {
	s.t.Helper()
	for _, n := range portals {
		nc, err := net.Dial("tcp", s.a.Ready().ISCSI[n-1])
		if err == nil {
			_ = nc.Close()
		}
		require.Error(s.t, err)
	}
}

// pinged is a ping whose answer may come later.
func (s *play) pinged(x *initiator.Session) <-chan error {
	done := make(chan error, 1)
	go func() { done <- x.NOP(s.ctx, nil) }()
	return done
}

func (s *play) waits(done <-chan error) {
	s.t.Helper()
	select {
	case err := <-done:
		s.t.Fatalf("it was answered: %v", err)
	default:
	}
}

// silence plays the ways of an APD on the sessions of a host, or of all.
func (s *play) silence(values map[preset.Parameter]string, victims, others []*initiator.Unit, sessions []*initiator.Session) {
	s.t.Helper()
	s.with("stall", values)
	var pings []<-chan error
	for _, x := range sessions {
		pings = append(pings, s.pinged(x))
	}
	s.alive(others...)
	for _, p := range pings {
		s.waits(p)
	}
	s.heal()
	for _, p := range pings {
		require.NoError(s.t, <-p)
	}
	s.with("silent", values)
	held := s.send(tur, nil, 0)
	s.awaitHits(s.rules[0], 1)
	s.silent(held)
	s.alive(others...)
	s.heal()
	s.good(held)
	s.with("forgotten", values)
	held = s.send(tur, nil, 0)
	s.awaitHits(s.rules[0], 1)
	s.alive(others...)
	s.heal()
	s.silent(held)
	s.abort(held, 0)
	s.with("unavailable", values)
	s.calm()
	for _, u := range victims {
		require.Equal(s.t, "2/04/0C", s.sense(u.TestUnitReady(s.ctx)))
	}
	s.alive(others...)
	s.heal()
	s.calm()
	s.with("down", values)
	s.dead(victims...)
	s.alive(others...)
	s.heal()
	s.rejoin()
}

// mute plays the way in which reads and writes alone are silent: paths stay up, and a read that
// is aborted as often as it is sent is answered when it heals.
func (s *play) mute(values map[preset.Parameter]string, victims ...*initiator.Unit) {
	s.t.Helper()
	s.with("media", values)
	for n := range uint64(3) {
		held := s.send(read8, nil, 4096)
		s.awaitHits(s.rules[0], n+1)
		s.silent(held)
		s.alive(victims...)
		s.abort(held, 0)
	}
	held := s.send(read8, nil, 4096)
	s.awaitHits(s.rules[0], 4)
	s.silent(held)
	s.heal()
	s.good(held)
	require.Equal(s.t, s.content, held.call.Result.DataIn[:len(s.content)])
	s.healed()
}

// createdByVASA is how creating a volume through the provider ends, in the default container.
func (s *play) createdByVASA() error { return s.createdIn("default") }

func (s *play) createdIn(container string) error {
	site := newSite(s.lab)
	k := call[api.Container](s.lab, "GET", "/api/v1/containers/"+url.PathEscape(container), nil, http.StatusOK)
	id, err := site.createIn(s.ctx, site.host("esx3"), k.ID, 1, "VMW_VVolName", "new")
	if err == nil {
		call[any](s.lab, "DELETE", "/api/v1/vvols/"+id, nil, http.StatusNoContent)
	}
	return err
}

// versionXML asks the provider as a client that checks certificates.
func (s *play) versionXML() error {
	roots := x509.NewCertPool()
	require.True(s.t, roots.AppendCertsFromPEM(s.a.Ready().VASA.CA))
	c, err := vasatest.New(vasatest.Options{URL: strings.TrimSuffix(s.a.Ready().VASA.URL, vasa.VersionPath) + vasa.ServicePath, Roots: roots})
	require.NoError(s.t, err)
	defer c.Close()
	_, _, err = c.Get(s.ctx, vasa.VersionPath)
	return err
}

type values = map[preset.Parameter]string

// presets are what each preset does to hosts, and that it heals.
var presets = map[string]func(s *play){
	// One VVol is gone for everybody. Its sister and the protocol endpoint know nothing of it.
	"pdl-vvol": func(s *play) {
		s.losses(values{preset.VVol: "victim"}, []*initiator.Unit{s.v1, s.v2, s.vh}, func() {
			s.holds(s.sister, 0, s.sisterContent)
			s.alive(s.pe)
		})
	},
	// The endpoint is gone with all behind it: for everybody, by its name, for one host.
	"pdl-pe": func(s *play) {
		all := []*initiator.Unit{s.pe, s.v1, s.v2, s.vh, s.sister}
		s.losses(nil, all, func() {})
		id := call[[]api.PE](s.lab, "GET", "/api/v1/pes", nil, 0)[0].ID
		s.losses(values{preset.PE: id}, all, func() {})
		s.losses(values{preset.Host: iqn("esx1")}, []*initiator.Unit{s.pe, s.v1, s.v2, s.sister}, func() { s.holds(s.vh, 0, s.content) })
	},
	// One host has lost everything, by sense data or as it can't log in; the other works.
	"pdl-host": func(s *play) {
		s.losses(values{preset.Host: iqn("esx1")}, []*initiator.Unit{s.pe, s.v1, s.v2, s.sister}, func() { s.holds(s.vh, 0, s.content) })
		s.with("login", values{preset.Host: iqn("esx1")})
		s.dead(s.v1, s.v2)
		s.clock.Step(time.Second)
		s.refusedWith(pdu.LoginTargetNotFound, "esx1")
		s.holds(s.vh, 0, s.content)
		s.heal()
		s.rejoin()
	},
	// One path of one host says that the volume is gone, which then is reached by the other.
	"pdl-one-path": func(s *play) {
		s.losses(values{preset.VVol: "victim", preset.Host: iqn("esx1")}, []*initiator.Unit{s.v1}, s.othersUnharmed)
	},
	// All hosts have lost all paths, in each way in which that can come.
	"apd": func(s *play) {
		s.silence(nil, []*initiator.Unit{s.v1, s.v2, s.vh}, nil, []*initiator.Session{s.path1, s.path2, s.host2})
		s.mute(nil, s.v1, s.v2, s.vh)
		s.with("down", nil)
		s.closed(1, 2)
		s.heal()
		s.rejoin()
		s.with("login", nil)
		s.dead(s.v1, s.v2, s.vh)
		s.clock.Step(time.Second)
		s.refusedWith(pdu.LoginServiceUnavailable, "esx2")
		s.heal()
		s.rejoin()
	},
	// One host has lost all paths, in each way; the other works.
	"apd-host": func(s *play) {
		v := values{preset.Host: iqn("esx1")}
		s.mute(v, s.v1, s.v2)
		s.silence(v, []*initiator.Unit{s.v1, s.v2}, []*initiator.Unit{s.vh}, []*initiator.Session{s.path1, s.path2})
		s.with("login", v)
		s.dead(s.v1, s.v2)
		s.alive(s.vh)
		s.clock.Step(time.Second)
		s.refusedWith(pdu.LoginServiceUnavailable, "esx1")
		s.alive(s.vh)
		s.heal()
		s.rejoin()
	},
	// One path of one host is silent, or its session is gone; the other paths work.
	"apd-one-path": func(s *play) {
		v := values{preset.Host: iqn("esx1")}
		s.silence(v, []*initiator.Unit{s.v1}, []*initiator.Unit{s.v2, s.vh}, []*initiator.Session{s.path1})
		s.with("login", v)
		s.dead(s.v1)
		s.clock.Step(time.Second)
		s.refusedWith(pdu.LoginServiceUnavailable, "esx1")
		s.alive(s.v2, s.vh)
		_ = s.login("esx1", 1)
		s.heal()
		s.rejoin()
	},
	// All paths go for a minute, three times, and everything is as ever in between.
	"apd-flap": func(s *play) {
		s.with("", nil)
		for range 3 {
			s.dead(s.v1, s.v2, s.vh)
			s.closed(1, 2)
			s.clock.Step(time.Minute)
			s.rejoin()
			s.clock.Step(2*time.Minute - time.Second)
			s.alive(s.v1, s.v2, s.vh)
			s.clock.Step(time.Second)
		}
		s.heal()
		s.rejoin()
	},
	// The provider takes requests and does not answer, until it heals; I/O goes on.
	"vp-hang": func(s *play) {
		s.with("", nil)
		asked := make(chan error, 1)
		go func() { asked <- s.createdByVASA() }()
		s.awaitHits(s.rules[0], 1)
		require.Equal(s.t, http.StatusServiceUnavailable, s.status("/healthz"))
		s.othersUnharmed()
		s.waits(asked)
		s.heal()
		require.NoError(s.t, <-asked)
		require.Equal(s.t, http.StatusOK, s.status("/healthz"))
		require.NoError(s.t, s.createdByVASA())
	},
	// Nothing answers at the provider's address; I/O goes on.
	"vp-down": func(s *play) {
		s.with("", nil)
		require.Error(s.t, s.versionXML())
		s.othersUnharmed()
		s.heal()
		require.NoError(s.t, s.versionXML())
		require.NoError(s.t, s.createdByVASA())
	},
	// The provider shows another certificate than it should; who checks it has no provider.
	"vp-cert-expired": func(s *play) {
		for way, flaw := range map[string]func(error) bool{
			"":           func(err error) bool { _, is := errors.AsType[x509.CertificateInvalidError](err); return is },
			"wrong-name": func(err error) bool { _, is := errors.AsType[x509.HostnameError](err); return is },
			"untrusted":  func(err error) bool { _, is := errors.AsType[x509.UnknownAuthorityError](err); return is },
		} {
			s.with(way, nil)
			require.True(s.t, flaw(s.versionXML()), way)
			s.othersUnharmed()
			s.heal()
			require.NoError(s.t, s.versionXML())
		}
	},
	// What needs space is refused on all volumes, and by the provider; the rest goes on.
	"array-full": func(s *play) {
		s.with("", nil)
		for _, u := range []*initiator.Unit{s.v1, s.vh, s.sister} {
			_, err := u.WriteAt(s.ctx, s.content, 0, false)
			require.Equal(s.t, "7/27/07", s.sense(err))
		}
		s.holds(s.v1, 0, s.content)
		require.NoError(s.t, s.v1.Unmap(s.ctx, initiator.Extent{LBA: 1024, Blocks: 8}))
		require.ErrorContains(s.t, s.createdByVASA(), "OutOfResource")
		s.heal()
		require.NoError(s.t, s.createdByVASA())
	},
	// A full container is one for its volumes alone, and a volume for itself.
	"container-full": func(s *play) {
		full := func(units ...*initiator.Unit) {
			for _, u := range units {
				_, err := u.WriteAt(s.ctx, s.content, 0, false)
				require.Equal(s.t, "7/27/07", s.sense(err))
			}
		}
		s.with("", nil)
		full(s.v1, s.v2, s.vh, s.sister)
		s.holds(s.sister, 0, s.sisterContent)
		require.ErrorContains(s.t, s.createdByVASA(), "OutOfResource")
		s.heal()
		require.NoError(s.t, s.createdByVASA())
		other := s.elsewhere("other pool")
		s.with("", nil)
		require.ErrorContains(s.t, s.createdByVASA(), "OutOfResource")
		require.NoError(s.t, s.createdIn("other pool"))
		s.write(other, 0, s.content)
		s.heal()
		s.with("", values{preset.VVol: "victim"})
		full(s.v1, s.v2, s.vh)
		s.write(s.sister, 0, s.sisterContent)
		s.write(other, 0, s.content)
		s.heal()
		s.with("", values{preset.Container: "other pool"})
		full(other)
		require.ErrorContains(s.t, s.createdIn("other pool"), "OutOfResource")
		require.NoError(s.t, s.createdByVASA())
		s.othersUnharmed()
		s.write(s.v1, 0, s.content)
		s.heal()
		s.write(other, 0, s.content)
	},
	// The pool is nearly full: hosts are told once, and I/O goes on.
	"threshold": func(s *play) {
		s.with("", values{preset.VVol: "victim"})
		for _, u := range []*initiator.Unit{s.v1, s.v2, s.vh} {
			s.attended(u, scsi.ThinProvisioningThreshold)
		}
		s.othersUnharmed()
		s.heal()
	},
	// The disk takes its time; paths and provider do not.
	"slow-disk": func(s *play) {
		v := values{preset.VVol: "victim"}
		s.with("", v)
		read := s.send(read8, nil, stageBytes)
		s.awaitHits(s.rules[0], 1)
		s.silent(read)
		s.holds(s.sister, 0, s.sisterContent)
		s.clock.Step(time.Second)
		s.good(read)
		s.heal()
		s.with("stuck", v)
		c := cdb.Block{Op: scsi.OpCompareAndWrite, Blocks: 1}
		ats := s.send(c.AppendTo(nil), append(s.content[:512:512], s.content[:512]...), 0)
		s.awaitHits(s.rules[0], 1)
		s.holds(s.v1, 0, s.content)
		s.clock.Step(8*time.Second - 1)
		s.silent(ats)
		s.clock.Step(8*time.Second + 1)
		s.good(ats)
		s.heal()
	},
	// Now and then a read returns a flipped bit.
	"bit-rot": func(s *play) {
		s.with("", values{preset.VVol: "victim"})
		for n := 0; ; n++ {
			require.Less(s.t, n, 2000, "nothing rots")
			p := make([]byte, stageBytes)
			_, err := s.v1.ReadAt(s.ctx, p, 0)
			require.NoError(s.t, err)
			if !bytes.Equal(p, s.content) {
				require.Equal(s.t, []int{1, 1, 1, 1, 1, 1, 1, 1}, flipped(p, s.content))
				break
			}
		}
		s.holds(s.sister, 0, s.sisterContent)
		s.heal()
	},
	// COMPARE AND WRITE finds what nobody has written; nothing is changed.
	"ats-miscompare": func(s *play) {
		s.with("", values{preset.VVol: "victim", preset.Host: iqn("esx1")})
		for _, u := range []*initiator.Unit{s.v1, s.v2} {
			require.Equal(s.t, "e/1D/00", s.sense(u.CompareAndWrite(s.ctx, 0, s.content[:512], s.content[:512])))
		}
		require.NoError(s.t, s.vh.CompareAndWrite(s.ctx, 0, s.content[:512], s.content[:512]))
		s.othersUnharmed()
		s.heal()
		require.NoError(s.t, s.v1.CompareAndWrite(s.ctx, 0, s.content[:512], s.content[:512]))
	},
	// One path is slow, in each way; the other is as fast as ever.
	"slow-path": func(s *play) {
		s.clock.SetRate(1) // of what is late and slow, too
		defer s.clock.SetRate(0)
		v := values{preset.Host: iqn("esx1")}
		took := func() time.Duration {
			began := time.Now()
			s.holds(s.v1, 0, s.content)
			_, err := s.v1.ReadAt(s.ctx, make([]byte, 256<<10), 0)
			require.NoError(s.t, err)
			return time.Since(began)
		}
		s.with("", v)
		require.GreaterOrEqual(s.t, took(), 100*time.Millisecond, "at least 50 ms to the array and back, twice")
		s.alive(s.v2, s.vh)
		require.EqualValues(s.t, 1, s.hits(s.rules[0]))
		s.heal()
		s.with("narrow", v)
		require.GreaterOrEqual(s.t, took(), 200*time.Millisecond, "256 KiB at 1 MiB/s")
		s.heal()
	},
	// One path is reset in its time, and loses answers until then.
	"lossy-path": func(s *play) {
		s.with("", values{preset.Host: iqn("esx1")})
		require.EqualValues(s.t, 1, s.hits(s.rules[0]), "the connection is to be reset in its time")
		answered := 0
		for s.hits(s.rules[1]) == 0 {
			f := s.send(tur, nil, 0)
			require.Eventually(s.t, func() bool {
				select {
				case <-f.done:
					answered++
					return true
				default:
					return s.hits(s.rules[1]) > 0
				}
			}, time.Minute, time.Millisecond)
		}
		require.Less(s.t, answered, 1000)
		s.alive(s.v2, s.vh)
		s.clock.Step(time.Minute)
		s.dead(s.v1)
		s.alive(s.v2, s.vh)
		s.heal()
		s.rejoin()
	},
	// A controller goes and comes back: its portal, then its target port group.
	"reboot-controller": func(s *play) {
		s.with("", nil)
		s.closed(1)
		s.dead(s.v1, s.vh)
		s.holds(s.v2, 0, s.content)
		require.Equal(s.t, map[byte]byte{1: 0, 2: 0}, s.states(s.v2))
		s.clock.Step(time.Minute)
		s.attended(s.v2, scsi.AccessStateChanged)
		require.Equal(s.t, map[byte]byte{1: 0xf, 2: 0}, s.states(s.v2))
		again := s.login("esx1", 0).Unit(s.v1.LUN())
		require.Equal(s.t, "6/29/00", s.sense(again.TestUnitReady(s.ctx)))
		require.Equal(s.t, "2/04/0A", s.sense(again.TestUnitReady(s.ctx)))
		s.clock.Step(10 * time.Second)
		for _, u := range []*initiator.Unit{s.v2, again} {
			s.attended(u, scsi.AccessStateChanged)
			require.Equal(s.t, map[byte]byte{1: 0, 2: 0}, s.states(u))
		}
		for _, f := range s.rules {
			require.Equal(s.t, "over", call[api.Fault](s.lab, "GET", "/api/v1/faults/"+f.ID, nil, 0).Phase)
		}
		s.rejoin()
		s.heal()
	},
	// A path takes what a host says and says nothing, or the other way round: writes are done and not
	// answered, or not done until it heals.
	"split-path": func(s *play) {
		next, never := random(5, stageBytes), random(6, stageBytes)
		s.with("", values{preset.Host: iqn("esx1")})
		f := s.send(write8, next, 0)
		s.content = next
		require.Eventually(s.t, func() bool {
			p := make([]byte, stageBytes)
			_, err := s.v2.ReadAt(s.ctx, p, 0)
			return err == nil && bytes.Equal(p, next)
		}, time.Minute, time.Millisecond, "it was done")
		ping := s.pinged(s.path1)
		s.alive(s.vh)
		s.waits(ping)
		s.heal()
		s.good(f)
		require.NoError(s.t, <-ping)
		s.with("requests", values{preset.Host: iqn("esx1")})
		f = s.send(write8, never, 0)
		ping = s.pinged(s.path1)
		s.holds(s.v2, 0, next)
		s.waits(ping)
		s.heal()
		s.good(f)
		require.NoError(s.t, <-ping)
		s.content = never
	},
}

// TestPresets adds each preset to an array, shows that hosts see what it says, and that
// everything is as before when it is removed.
func TestPresets(t *testing.T) {
	all := preset.Table()
	require.Len(t, presets, len(all))
	for _, p := range all {
		t.Run(p.Name, func(t *testing.T) {
			c := frozen{clock.New(0)}
			s := &play{stage: newStageAt(t, c), clock: c, p: p}
			play := presets[p.Name]
			require.NotNil(t, play)
			play(s)
			call[any](s.lab, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
			s.healed()
			s.othersUnharmed()
		})
	}
}

// TestPresetsByAPI shows that the API has all presets, that each can be played as it is
// described there, that a dry run adds nothing, and that what can't be added whole is not
// added at all.
func TestPresetsByAPI(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	list := call[[]api.FaultPreset](l, "GET", "/api/v1/fault-presets", nil, http.StatusOK)
	require.Len(t, list, len(preset.Table()))
	faults := func() []api.Fault { return call[[]api.Fault](l, "GET", "/api/v1/faults", nil, http.StatusOK) }
	given := map[string]any{"vvol": `my "disk"`, "container": "my pool", "host": iqn("esx1"), "portal": 2, "pe": "pe0"}
	for _, p := range list {
		require.NotEmpty(t, p.Expect, p.Name)
		require.NotEmpty(t, p.Expect[0].Certainty, p.Name)
		require.NotEmpty(t, p.Heals, p.Name)
		needed := map[string]any{}
		for _, x := range p.Parameters {
			if x.Needed {
				needed[x.Name] = given[x.Name]
			}
		}
		if len(needed) > 0 {
			missing := call[struct{ Detail string }](l, "POST", "/api/v1/fault-presets/"+p.Name, nil, http.StatusBadRequest)
			require.Contains(t, missing.Detail, p.Name+" needs ")
		}
		for i, w := range p.Ways {
			all := map[string]any{"way": w.Name}
			for _, name := range w.Takes {
				all[name] = given[name]
			}
			dry := maps.Clone(all)
			dry["dryRun"] = true
			planned := call[api.PlayedPreset](l, "POST", "/api/v1/fault-presets/"+p.Name, dry, http.StatusOK)
			require.Empty(t, planned.Added)
			require.Empty(t, faults())
			played := call[api.PlayedPreset](l, "POST", "/api/v1/fault-presets/"+p.Name, all, http.StatusCreated)
			require.Equal(t, planned.Rules, played.Rules)
			require.Len(t, played.Added, len(w.Rules))
			for k, f := range played.Added {
				require.Equal(t, played.Rules[k], f.Rule)
				require.NotContains(t, f.Rule, "{")
			}
			require.Equal(t, append(p.Expect, w.Expect...), played.Expect)
			require.Equal(t, p.Heals, played.Heals)
			for k, f := range faults() {
				require.Equal(t, played.Added[k].ID, f.ID)
			}
			call[any](l, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
			if i == 0 {
				least := call[api.PlayedPreset](l, "POST", "/api/v1/fault-presets/"+p.Name, needed, http.StatusCreated)
				require.Equal(t, w.Name, least.Way)
				call[any](l, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
			}
		}
	}

	for path, c := range map[string]struct {
		body   map[string]any
		status int
		want   string
	}{
		"apocalypse":   {map[string]any{}, http.StatusNotFound, `fault preset "apocalypse"`},
		"vp-hang":      {map[string]any{"portal": 1}, http.StatusBadRequest, "vp-hang takes no portal, nor anything else"},
		"apd":          {map[string]any{"way": "magic"}, http.StatusBadRequest, `"magic" is no way of apd, but down, stall`},
		"lossy-path":   {map[string]any{"portal": 3}, http.StatusBadRequest, "\"path portal=3 -> reset 10s..1m\": invalid argument: fault rule: portal=3: the array's portals are 1 to 2"},
		"pdl-pe":       {map[string]any{"pe": "pe9"}, http.StatusBadRequest, "pe=pe9: the array has the protocol endpoints pe0"},
		"apd-one-path": {map[string]any{"host": "a\nb"}, http.StatusBadRequest, "one line without control characters"},
		// The first rule is one that can be, the second is longer than a rule may be.
		"container-full": {map[string]any{"vvol": strings.Repeat("a", 790)}, http.StatusBadRequest, "a rule has at most 800 bytes"},
	} {
		p := call[struct{ Detail string }](l, "POST", "/api/v1/fault-presets/"+path, c.body, c.status)
		require.Contains(t, p.Detail, c.want)
		require.Empty(t, faults(), path)
	}
}
