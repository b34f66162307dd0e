package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"vvsim/vasa/vasatest"
)

// authorityCommand plays a vCenter with its certificate authority:
//
//	authority register              registers it with the provider of VVSIM_VASA_URL, and opens a session
//	authority sign CSR FILE         answers a signing request, with its own certificate behind
//	authority issue NAME CERT KEY   makes a server certificate for a name, and its key
func authorityCommand(ts *testscript.TestScript, neg bool, args []string) {
	played := ts.Value(authorityKey).(*playedAuthority)
	if url := ts.Getenv("VVSIM_VASA_URL"); played.url != url {
		service, err := vasatest.Locate(context.Background(), url)
		ts.Check(err)
		played.v, err = vasatest.NewVCenter(vasatest.Options{URL: service}, vasatest.Patience{})
		ts.Check(err)
		ts.Defer(played.v.Close)
		played.url = url
	}
	a := played.v.Authority
	switch {
	case !neg && len(args) == 1 && args[0] == "register":
		_, err := played.v.Register(context.Background(), ts.Getenv("VVSIM_VASA_USER"), ts.Getenv("VVSIM_VASA_PASSWORD"))
		ts.Check(err)
		ts.Check(played.v.Open(context.Background()))
	case !neg && len(args) == 3 && args[0] == "sign":
		signed, err := a.Sign(ts.ReadFile(args[1]))
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(signed+a.PEM()), 0o600))
	case !neg && len(args) == 4 && args[0] == "issue":
		c, err := a.Issue(args[1], func(t *x509.Certificate) {
			t.DNSNames, t.ExtKeyUsage = args[1:2], []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})
		ts.Check(err)
		key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(vasatest.PEM(c.Leaf)+a.PEM()), 0o600))
		ts.Check(os.WriteFile(ts.MkAbs(args[3]), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	default:
		ts.Fatalf("usage: authority register | sign CSR FILE | issue NAME CERT KEY")
	}
}

// authorityKey is where a script keeps its authority.
const authorityKey = "authority"

// playedAuthority is of the provider with that URL.
type playedAuthority struct {
	url string
	v   *vasatest.VCenter
}
