package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vvsim/api"
	"vvsim/vasa/trust"
)

func newProvider() *cobra.Command {
	showIt := outputFlag(&cobra.Command{Use: "show", Short: "Show the provider and its sessions", Args: usageArgs(cobra.NoArgs), RunE: showProvider})
	trace := outputFlag(&cobra.Command{Use: "trace", Short: "List what clients sent that was not expected", Args: usageArgs(cobra.NoArgs),
		Long: "List what clients of the provider sent that was not expected, and in which order they call. Each kind keeps so many\nentries, those of strangers (without a trusted certificate) apart. The list ends with the array; what comes for the\nfirst time is also in the array's log, at level info.",
		RunE: func(c *cobra.Command, _ []string) error {
			return table(c, "/provider/trace", column[api.TraceEntry]{"KIND", func(x api.TraceEntry) any { return x.Kind }},
				column[api.TraceEntry]{"OPERATION", func(x api.TraceEntry) any { return x.Operation }},
				column[api.TraceEntry]{"CLIENT", traceClient},
				column[api.TraceEntry]{"CLIENTS", func(x api.TraceEntry) any { return x.Clients }},
				column[api.TraceEntry]{"COUNT", func(x api.TraceEntry) any { return x.Count }},
				column[api.TraceEntry]{"LAST", func(x api.TraceEntry) any { return x.Last.Format(time.RFC3339) }},
				column[api.TraceEntry]{"WHAT", func(x api.TraceEntry) any { return strings.ReplaceAll(x.Text, "\n", "; ") }})
		}})
	return noun("provider", "The VASA provider", showIt, trace, newCert(), newExercise())
}

// traceClient names who sent an entry: the last one, where several are counted.
func traceClient(x api.TraceEntry) any {
	if x.Stranger && x.Client == "" {
		return "stranger"
	}
	return x.Client
}

func showProvider(c *cobra.Command, _ []string) error {
	if wantsJSON(c) {
		return show(c, "/provider")
	}
	p, err := call[api.Provider](c.Context(), http.MethodGet, "/provider", nil)
	if err != nil {
		return err
	}
	w := c.OutOrStdout()
	fmt.Fprintf(w, "url   %s\nuser  %s\nuid   %s\n", p.URL, p.User, p.UID)
	return writeTable(w, p.Sessions, []column[api.ProviderSession]{
		{"CLIENT", func(x api.ProviderSession) any { return x.Client }}, {"REMOTE", func(x api.ProviderSession) any { return x.Remote }},
		{"OPENED", func(x api.ProviderSession) any { return x.OpenedAt.Format(time.RFC3339) }},
		{"INITIATORS", func(x api.ProviderSession) any { return strings.Join(x.Initiators, ",") }}})
}

func newCert() *cobra.Command {
	showIt := outputFlag(&cobra.Command{Use: "show", Short: "Show the provider's certificate and whom it trusts", Args: usageArgs(cobra.NoArgs), RunE: showCert})
	csr := &cobra.Command{Use: "csr", Short: "Print a certificate signing request", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := call[struct{ CSR string }](c.Context(), http.MethodPost, "/provider/certificate/csr", nil)
			if err == nil {
				_, err = io.WriteString(c.OutOrStdout(), r.CSR)
			}
			return err
		}}
	renew := &cobra.Command{Use: "renew", Short: "Go back to the own CA, with a new key and ten more years", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := call[trust.Report](c.Context(), http.MethodPost, "/provider/certificate/renew", nil)
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "serving %s until %s, SHA-1 %s\n", r.Served.Subject, r.Served.NotAfter.Format(time.DateOnly), r.Served.SHA1)
			}
			return err
		}}
	return noun("cert", "The provider's certificate", showIt, csr, renew, newCertImport())
}

// maxPEM bounds files of certificates and keys, in bytes.
const maxPEM = 1 << 20

func newCertImport() *cobra.Command {
	var key string
	c := &cobra.Command{Use: "import CERTIFICATE", Short: "Serve a certificate from elsewhere", Args: usageArgs(cobra.ExactArgs(1)),
		Long: "Serve the certificate in a PEM file, with its issuers behind it. Its key is in the file given by --key;\nwithout one it answers an earlier `vvsim provider cert csr`. One that lacks the host of the provider's URL is\nserved with a warning: vCenter and hosts will refuse it. `vvsim provider cert renew` goes back to the own CA."}
	c.Flags().StringVar(&key, "key", "", "PEM file of the private key")
	c.RunE = func(c *cobra.Command, args []string) error {
		body := map[string]string{}
		for name, path := range map[string]string{"certificate": args[0], "key": key} {
			if path == "" {
				continue
			}
			text, err := readPEM(path)
			if err != nil {
				return err
			}
			body[name] = text
		}
		r, err := call[trust.Report](c.Context(), http.MethodPost, "/provider/certificate/import", body)
		if err == nil {
			fmt.Fprintf(c.OutOrStdout(), "serving %s until %s, SHA-1 %s\n", r.Served.Subject, r.Served.NotAfter.Format(time.DateOnly), r.Served.SHA1)
			for _, w := range r.Warnings {
				if w.Code == trust.WarnName {
					fmt.Fprintln(c.ErrOrStderr(), "warning: "+w.Text)
				}
			}
		}
		return err
	}
	return c
}

func readPEM(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxPEM)
	}
	return string(b), err
}

func showCert(c *cobra.Command, _ []string) error {
	if wantsJSON(c) {
		return show(c, "/provider/certificate")
	}
	r, err := call[trust.Report](c.Context(), http.MethodGet, "/provider/certificate", nil)
	if err != nil {
		return err
	}
	w := c.OutOrStdout()
	fmt.Fprintf(w, "served   %s, from %s, until %s (%s)\nnames    %s\nSHA-1    %s\nSHA-256  %s\n", r.Served.Subject, r.Source,
		r.Served.NotAfter.Format(time.DateOnly), r.Served.State, strings.Join(r.Served.Names, ", "), r.Served.SHA1, r.Served.SHA256)
	fmt.Fprintf(w, "own CA   %s, until %s\nretained %t\n", r.CA.Subject, r.CA.NotAfter.Format(time.DateOnly), r.Retain)
	for _, x := range r.Roots {
		fmt.Fprintf(w, "root     %s of %q, until %s (%s)\n", x.Subject, x.Owner, x.NotAfter.Format(time.DateOnly), x.State)
	}
	for _, x := range r.Clients {
		fmt.Fprintf(w, "client   %s, until %s (%s)\n", x.Subject, x.NotAfter.Format(time.DateOnly), x.State)
	}
	for _, x := range r.CRLs {
		fmt.Fprintf(w, "CRL      of %s, %d revoked, next update %s\n", x.Issuer, x.Revoked, x.NextUpdate.Format(time.RFC3339))
	}
	for _, x := range r.Warnings {
		fmt.Fprintf(w, "WARNING  %s\n", x.Text)
	}
	return nil
}
