package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"vvsim/vasa/vcenter"
	"vvsim/vasa/vcenter/smstest"
)

// vcenterCommand plays a vCenter:
//
//	vcenter start         starts it and sets the variables of govc
//	vcenter sync          reads the inventory of all providers
//	vcenter elsewhere     sets ELSEWHERE to the URL of a server whose certificate has not its name
//	vcenter secret FILE   writes VVSIM_VASA_PASSWORD to a file
func vcenterCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: vcenter start|sync|elsewhere|secret FILE")
	}
	ctx := context.Background()
	switch args[0] {
	case "start":
		v, err := smstest.New(smstest.Options{User: "administrator@vsphere.local", Password: "of vCenter"})
		ts.Check(err)
		ts.Defer(v.Close)
		for k, value := range map[string]string{"GOVC_URL": v.URL.Host, "GOVC_USERNAME": "administrator@vsphere.local", "GOVC_PASSWORD": "of vCenter", "GOVC_INSECURE": "1"} {
			ts.Setenv(k, value)
		}
		ts.Value(vcenterKey).(*playedVCenter).v = v
	case "sync":
		v := ts.Value(vcenterKey).(*playedVCenter).v
		s, err := vcenter.Connect(ctx, vcenter.Target{URL: v.URL, User: "administrator@vsphere.local", Password: "of vCenter", Insecure: true})
		ts.Check(err)
		all, err := s.Providers(ctx)
		ts.Check(err)
		ts.Check(s.Close())
		for _, p := range all {
			ts.Check(v.Sync(ctx, p.UID))
		}
	case "elsewhere":
		other := httptest.NewTLSServer(http.NotFoundHandler()) // its certificate is for 127.0.0.1
		ts.Defer(other.Close)
		ts.Setenv("ELSEWHERE", strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+"/vasa/version.xml")
	case "secret":
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(ts.Getenv("VVSIM_VASA_PASSWORD")+"\n"), 0o600))
	}
}

// vcenterKey is where a script keeps its vCenter.
const vcenterKey = "vcenter"

type playedVCenter struct{ v *smstest.VCenter }
