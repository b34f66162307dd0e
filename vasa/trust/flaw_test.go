package trust_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
)

// A flawed certificate is refused for its flaw alone, and leaves what is served as it is.
func TestFlawed(t *testing.T) {
	s := open(t, "", options(newClock()))
	served := s.Certificate()
	ca, err := trust.ParseCertificates(string(s.CAPEM()))
	require.NoError(t, err)
	verify := func(f trust.Flaw) error {
		c, err := s.Flawed(f)
		require.NoError(t, err)
		require.Equal(t, served.PublicKey, c.Leaf.PublicKey)
		return verifyAs(c.Leaf, ca, "array.lab", start)
	}
	require.NoError(t, verifyAs(served, ca, "array.lab", start))
	var invalid x509.CertificateInvalidError
	require.ErrorAs(t, verify(trust.FlawExpired), &invalid)
	require.Equal(t, x509.Expired, invalid.Reason)
	var name x509.HostnameError
	require.ErrorAs(t, verify(trust.FlawName), &name)
	var issuer x509.UnknownAuthorityError
	require.ErrorAs(t, verify(trust.FlawIssuer), &issuer)
	c, err := s.Flawed(trust.FlawExpired)
	require.NoError(t, err)
	require.NoError(t, verifyAs(c.Leaf, ca, "array.lab", start.Add(-2*time.Hour)), "it was good before")
	_, err = s.Flawed("ugly")
	require.Error(t, err)
	require.Equal(t, served, s.Certificate())
}
