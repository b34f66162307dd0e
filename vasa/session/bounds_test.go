package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/wire"
)

// boundedTable returns a table whose clock moves by a second with each look.
func boundedTable(change func(*Options)) *Table {
	now := time.Unix(0, 0)
	o := Options{Sessions: 8, Clients: 16, PerCertificate: 3, Names: 10, Timeout: time.Hour, MaxTime: time.Hour, PerSession: 1,
		Origin: func() int64 { return 1 }, Cursor: func() uint64 { return 0 }, Clock: func() time.Time { now = now.Add(time.Second); return now }}
	if change != nil {
		change(&o)
	}
	return New(o)
}

func hostN(n int, initiators ...string) (u wire.UsageContext) {
	u.HostGUID = new(fmt.Sprint("host", n))
	for _, i := range initiators {
		u.HostInitiator = append(u.HostInitiator, wire.HostInitiatorInfo{ISCSIIdentifier: &i})
	}
	return u
}

func open(t *testing.T, table *Table, u wire.UsageContext, certificate string) *Session {
	t.Helper()
	s, _, err := table.Open(u, certificate, "", nil)
	require.NoError(t, err)
	return s
}

func alive(table *Table, s *Session) bool {
	_, err := table.Find(s.ID, s.Certificate)
	return err == nil
}

// TestPerCertificate: who opens many sessions loses its own.
func TestPerCertificate(t *testing.T) {
	table := boundedTable(nil)
	other := open(t, table, hostN(1), "other")
	first, second := open(t, table, hostN(2), "greedy"), open(t, table, hostN(2), "greedy")
	open(t, table, hostN(2), "greedy")
	require.True(t, alive(table, first), "and used now")
	for range 2 {
		open(t, table, hostN(2), "greedy")
	}
	require.False(t, alive(table, second), "unused for the longest time")
	require.True(t, alive(table, first))
	require.True(t, alive(table, other))
	require.Len(t, table.Sessions(), 4)
}

// TestFullTable takes from the certificate that has the most.
func TestFullTable(t *testing.T) {
	table := boundedTable(func(o *Options) { o.Sessions = 4 })
	greedy := []*Session{open(t, table, hostN(1), "greedy"), open(t, table, hostN(1), "greedy"), open(t, table, hostN(1), "greedy")}
	one := open(t, table, hostN(2), "one")
	two, three := open(t, table, hostN(3), "two"), open(t, table, hostN(4), "three")
	require.False(t, alive(table, greedy[0]))
	require.False(t, alive(table, greedy[1]))
	for _, s := range []*Session{greedy[2], one, two, three} {
		require.True(t, alive(table, s))
	}
	_, _, err := table.Open(hostN(5), "four", "", nil)
	require.ErrorIs(t, err, ErrTooMany)
	_, _, err = table.Open(hostN(2), "one", "", one)
	require.NoError(t, err, "in place of its own")
	require.False(t, alive(table, one))
	require.Len(t, table.Sessions(), 4)
}

// TestNames: a certificate speaks for so many clients and initiators, and no more.
func TestNames(t *testing.T) {
	table := boundedTable(func(o *Options) { o.Sessions = 64 })
	former := open(t, table, hostN(1, "iqn.a", "iqn.b"), "c")
	for n := range 7 {
		open(t, table, hostN(2, fmt.Sprint("iqn.", n)), "other") // 8 names
	}
	many := []string{}
	for n := range 8 {
		many = append(many, fmt.Sprint("iqn.", n))
	}
	_, _, err := table.Open(hostN(1, many...), "c", "", former)
	require.ErrorIs(t, err, ErrTooManyNames)
	require.True(t, alive(table, former), "what was refused changed nothing")
	open(t, table, hostN(1, many[:7]...), "c")
	_, _, err = table.Open(hostN(3), "c", "", nil)
	require.ErrorIs(t, err, ErrTooManyNames)
	open(t, table, hostN(1, "iqn.b"), "c") // known
	require.Equal(t, []string{"iqn.b"}, former.Client.Initiators())
	for n := range 40 {
		open(t, table, hostN(1), fmt.Sprint("certificate ", n))
	}
	require.LessOrEqual(t, len(table.speakers), 16)
}
