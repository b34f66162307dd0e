package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/wire"
)

// clock stands still until it is told to go on.
type clock struct{ t time.Time }

func newTable(c *clock, sessions, clients int) *Table {
	return New(Options{Sessions: sessions, Clients: clients, PerCertificate: sessions, Names: 100, Timeout: time.Minute, MaxTime: time.Hour, PerSession: 2,
		Origin: func() int64 { return 1 }, Cursor: func() uint64 { return 0 }, Clock: func() time.Time { return c.t }})
}

func host(guid string, initiators ...string) wire.UsageContext {
	u := wire.UsageContext{HostGUID: &guid}
	for _, n := range initiators {
		u.HostInitiator = append(u.HostInitiator, wire.HostInitiatorInfo{ISCSIIdentifier: &n})
	}
	return u
}

func TestIdentity(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	table := newTable(c, 10, 10)
	_, _, err := table.Open(wire.UsageContext{}, "cert", "r", nil)
	require.ErrorIs(t, err, ErrNobody)
	a, _, err := table.Open(host("ABC", "IQN.1", "iqn.1", " "), "cert", "r", nil)
	require.NoError(t, err)
	b, _, err := table.Open(wire.UsageContext{HostGUID: new("abc"), VCGUID: new("vc")}, "cert2", "r", nil)
	require.NoError(t, err)
	require.Same(t, a.Client, b.Client, "a host's GUID has no case, and goes before vCenter's")
	require.Equal(t, "host abc", a.Client.Key())
	require.NotEqual(t, a.ID, b.ID)
	v, _, err := table.Open(wire.UsageContext{VCGUID: new("abc")}, "cert", "r", nil)
	require.NoError(t, err)
	require.Equal(t, "vcenter abc", v.Client.Key())
	require.Equal(t, []string{"iqn.1"}, InitiatorsOf(new(host("x", "IQN.1", "iqn.1", " "))))
}

func TestTimeouts(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	table := newTable(c, 10, 10)
	for seconds, want := range map[int64]time.Duration{0: time.Minute, -5: time.Minute, 7: 7 * time.Second, 1 << 62: time.Hour} {
		u := host(fmt.Sprint(seconds))
		u.SessionTimeoutInSeconds = &seconds
		s, _, err := table.Open(u, "cert", "r", nil)
		require.NoError(t, err)
		require.Equal(t, want, s.Timeout)
		begin := c.t
		c.t = begin.Add(want - 1)
		_, err = table.Find(s.ID, "cert")
		require.NoError(t, err)
		_, err = table.Find(s.ID, "other")
		require.ErrorIs(t, err, ErrNone)
		c.t = c.t.Add(want)
		_, err = table.Find(s.ID, "cert")
		require.ErrorIs(t, err, ErrNone)
		c.t = begin
		table.End(s.ID)
	}
	require.Empty(t, table.Sessions())
}

// TestClientsAreBounded: the one without session that was seen longest ago goes.
func TestClientsAreBounded(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	table := newTable(c, 10, 3)
	var ids []string
	for i := range 3 {
		s, _, err := table.Open(host(fmt.Sprint("h", i)), "cert", "r", nil)
		require.NoError(t, err)
		ids = append(ids, s.ID)
		c.t = c.t.Add(time.Second)
	}
	table.End(ids[0])
	table.End(ids[1])
	_, _, err := table.Open(host("h1"), "cert", "r", nil) // seen again
	require.NoError(t, err)
	c.t = c.t.Add(time.Second)
	_, _, err = table.Open(host("h3"), "cert", "r", nil)
	require.NoError(t, err)
	var keys []string
	for _, x := range table.Clients() {
		keys = append(keys, x.Key())
	}
	require.Equal(t, []string{"host h1", "host h2", "host h3"}, keys)
}

func TestRequestsOfASession(t *testing.T) {
	table := newTable(&clock{time.Unix(1000, 0)}, 10, 10)
	s, _, err := table.Open(host("h"), "cert", "r", nil)
	require.NoError(t, err)
	require.True(t, s.Enter())
	require.True(t, s.Enter())
	require.False(t, s.Enter())
	s.Leave()
	require.True(t, s.Enter())
	require.Empty(t, s.Follows("setContext"))
	require.Equal(t, "setContext", s.Follows("getEvents"))
}

func TestConflict(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	table := newTable(c, 10, 10)
	open := func(u wire.UsageContext) *Conflict {
		_, conflict, err := table.Open(u, "cert", "r", nil)
		require.NoError(t, err)
		return conflict
	}
	require.Nil(t, open(host("g", "iqn.a")))
	require.Nil(t, open(host("g", "iqn.b", "iqn.A")), "one of them is the same")
	require.Nil(t, open(host("g")))
	require.Nil(t, open(host("other", "iqn.a")))
	conflict := open(host("G", "iqn.c"))
	require.NotNil(t, conflict)
	require.Contains(t, conflict.String(), "iqn.c")
	c.t = c.t.Add(time.Hour)
	require.Nil(t, open(host("g", "iqn.d")), "the others timed out")
}
