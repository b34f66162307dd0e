package trust_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
)

func TestLogin(t *testing.T) {
	c := newClock()
	o := options(c)
	o.User, o.Password, o.MaxBadPasswords, o.LockTime = "admin", "secret", 3, time.Minute
	s := open(t, "", o)
	require.NoError(t, s.Login("admin", "secret"))
	for _, bad := range [][2]string{{"admin", ""}, {"admin", "Secret"}, {"", "secret"}, {"Admin", "secret"}, {"", ""}} {
		require.ErrorIs(t, s.Login(bad[0], bad[1]), trust.ErrLogin)
	}
	require.NoError(t, s.Login("admin", "secret"), "two were wrong")

	for range 3 {
		require.ErrorIs(t, s.Login("admin", "no"), trust.ErrLogin)
		c.add(time.Second)
	}
	var locked *trust.LockedError
	require.ErrorAs(t, s.Login("admin", "secret"), &locked, "even the right one")
	require.Equal(t, c.Now().Add(time.Minute-time.Second), locked.Until)
	require.NotContains(t, locked.Error(), "secret")
	c.add(time.Minute - time.Second - 1)
	require.ErrorAs(t, s.Login("admin", "no"), &locked, "until the end, and no longer by trying")
	c.add(1)
	require.NoError(t, s.Login("admin", "secret"))

	for range 2 {
		require.ErrorIs(t, s.Login("admin", "no"), trust.ErrLogin)
	}
	c.add(time.Minute)
	require.ErrorIs(t, s.Login("admin", "no"), trust.ErrLogin)
	require.NoError(t, s.Login("admin", "secret"), "old failures are forgotten")

	for range 3 {
		require.ErrorIs(t, s.Login("nobody", "no"), trust.ErrLogin)
	}
	require.ErrorAs(t, s.Login("nobody", "no"), &locked, "a lock tells nothing of who exists")
	require.NoError(t, s.Login("admin", "secret"), "and is for that name alone")
	c.add(-time.Hour)
	require.ErrorIs(t, s.Login("nobody", "no"), trust.ErrLogin, "a clock that was set back locks nobody for long")
}

func TestLoginFlood(t *testing.T) {
	c := newClock()
	o := options(c)
	o.MaxBadPasswords = 2
	s := open(t, "", o)
	require.ErrorIs(t, s.Login("vasa", "no"), trust.ErrLogin)
	for i := range 5000 {
		c.add(time.Microsecond)
		require.ErrorIs(t, s.Login(fmt.Sprint(i, strings.Repeat("x", i%400)), "no"), trust.ErrLogin)
	}
	require.ErrorIs(t, s.Login("vasa", "no"), trust.ErrLogin)
	var locked *trust.LockedError
	require.ErrorAs(t, s.Login("vasa", s.Password()), &locked, "strangers do not make the provider forget")
}

func TestNoLock(t *testing.T) {
	o := options(newClock())
	o.MaxBadPasswords = -1
	s := open(t, "", o)
	for range 100 {
		require.ErrorIs(t, s.Login("vasa", "no"), trust.ErrLogin)
	}
	require.NoError(t, s.Login("vasa", s.Password()))
}

func TestPasswordFile(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	s := open(t, dir, options(c))
	path := filepath.Join(dir, "vasa-password")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, s.Password()+"\n", string(content))

	o := options(c)
	o.Password = "given"
	require.NoError(t, open(t, dir, o).Login("vasa", "given"))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, content, after)

	require.NoError(t, os.WriteFile(path, []byte("by hand\r\n"), 0o600))
	require.NoError(t, open(t, dir, options(c)).Login("vasa", "by hand"))

	other := open(t, t.TempDir(), options(c))
	require.NotEqual(t, s.Password(), other.Password())
	fresh := t.TempDir()
	open(t, fresh, o)
	require.NoFileExists(t, filepath.Join(fresh, "vasa-password"))
}
