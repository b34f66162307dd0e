package trust_test

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
)

// Whatever is taken says the same when it is written again, and holds whatever
// encoding/pem finds in it.
func FuzzParse(f *testing.F) {
	t := &testing.T{}
	ca, other := newCA(t, "a"), newCA(t, "b")
	crl := revoke(t, ca, 1, nil, other)
	lists, err := trust.ParseCRLs(crl)
	require.NoError(f, err)
	for _, seed := range []string{"", "?", "AAAA", ca.pem(), ca.pem() + other.pem(), strings.ReplaceAll(ca.pem(), "\n", "\r\n"), strings.ReplaceAll(ca.pem(), "\n", ""),
		base64.StdEncoding.EncodeToString(ca.cert.Raw), crl, base64.StdEncoding.EncodeToString(lists[0].Raw), ca.pem()[:100], "x\n" + ca.pem() + "y",
		"-----BEGIN CERTIFICATE-----", "-----BEGIN ", "-----BEGIN CERTIFICATE-----\nA: b\n\nAAAA\n-----END CERTIFICATE-----\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var ders [][]byte
		kind := "CERTIFICATE"
		if certs, err := trust.ParseCertificates(text); err == nil {
			require.NotEmpty(t, certs)
			for _, c := range certs {
				ders = append(ders, c.Raw)
			}
		} else if lists, err := trust.ParseCRLs(text); err == nil {
			require.NotEmpty(t, lists)
			kind = "X509 CRL"
			for _, l := range lists {
				ders = append(ders, l.Raw)
			}
		} else {
			return
		}
		var again strings.Builder
		for _, der := range ders {
			require.NoError(t, pem.Encode(&again, &pem.Block{Type: kind, Bytes: der}))
		}
		var read [][]byte
		if kind == "CERTIFICATE" {
			certs, err := trust.ParseCertificates(again.String())
			require.NoError(t, err)
			for _, c := range certs {
				read = append(read, c.Raw)
			}
		} else {
			lists, err := trust.ParseCRLs(again.String())
			require.NoError(t, err)
			for _, l := range lists {
				read = append(read, l.Raw)
			}
		}
		require.Equal(t, ders, read)
		for rest := []byte(text); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			found := false
			for _, der := range ders {
				found = found || bytes.Equal(der, block.Bytes)
			}
			require.True(t, found, "encoding/pem finds %s", block.Type)
		}
	})
}
