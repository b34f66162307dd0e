package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vvsim/api"
	"vvsim/vasa/vcenter"
)

// defaultVCenterTimeout bounds a command that talks to a vCenter.
const defaultVCenterTimeout = 2 * time.Minute

const vcenterLong = "The vCenter is named as for govc: GOVC_URL, GOVC_USERNAME and GOVC_PASSWORD (the last two may name a file),\n" +
	"GOVC_INSECURE, GOVC_TLS_CA_CERTS (PEM files) and GOVC_TLS_KNOWN_HOSTS (files of host and thumbprint)."

func newVCenter() *cobra.Command {
	c := noun("vcenter", "Register the VASA provider with a vCenter", newVCenterRegister(), newVCenterUnregister(), newVCenterStatus())
	c.Long = c.Short + ".\n\n" + vcenterLong
	for _, verb := range c.Commands() {
		verb.Long = strings.TrimSpace(verb.Short + ".\n\n" + verb.Long + "\n\n" + vcenterLong)
		verb.Flags().Duration("timeout", defaultVCenterTimeout, "of the whole command")
	}
	return c
}

func newVCenterRegister() *cobra.Command {
	c := outputFlag(&cobra.Command{Use: "register", Short: "Register a VASA provider", Args: usageArgs(cobra.NoArgs), RunE: registerProvider})
	c.Long = "The provider's certificate is shown and has to be confirmed, by a person or with --thumbprint; vCenter is told it, and\n" +
		"refuses another one. VVSIM_CA, if set, says which CA should have issued it."
	f := c.Flags()
	f.String("name", "vvsim", "of the provider in vCenter")
	f.String("description", "", "of the provider in vCenter")
	f.String("url", "", "of the provider, as vCenter reaches it (default: VVSIM_VASA_URL, or that of the array at VVSIM_API)")
	f.String("username", "", "of the provider (default: VVSIM_VASA_USER)")
	f.String("password", "", "of the provider; other users of this machine may see it (default: VVSIM_VASA_PASSWORD, or asked for)")
	f.String("password-file", "", "file that holds the password")
	f.Bool("yes", false, "take the certificate that is presented")
	f.String("thumbprint", "", "take the certificate with this SHA-1 or SHA-256 thumbprint, and no other")
	return c
}

func newVCenterUnregister() *cobra.Command {
	return &cobra.Command{Use: "unregister NAME|URL|UID", Short: "Take a VASA provider out of a vCenter", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return withVCenter(c, func(ctx context.Context, s *vcenter.Session) error {
				p, err := s.Find(ctx, args[0])
				if err != nil {
					return err
				}
				if err := s.Unregister(ctx, p.UID); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "unregistered %s (%s)\n", p.Name, p.UID)
				return nil
			})
		}}
}

// seenProvider is a provider and whose it is.
type seenProvider struct {
	vcenter.Provider
	// Ours: the array at VVSIM_API says so by its uid ("uid"), or it is registered with the
	// URL of VVSIM_VASA_URL ("url").
	Ours string `json:"ours,omitempty"`
	// Problems of a provider of ours that is not online, as seen from here.
	Problems []string `json:"problems,omitempty"`
}

func newVCenterStatus() *cobra.Command {
	return outputFlag(&cobra.Command{Use: "status", Short: "List the VASA providers of a vCenter, with what their states mean", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return withVCenter(c, func(ctx context.Context, s *vcenter.Session) error {
				all, err := s.Providers(ctx)
				if err != nil {
					return err
				}
				own, seen := ownProvider(ctx), []seenProvider{}
				for _, p := range all {
					seen = append(seen, own.look(ctx, p))
				}
				if wantsJSON(c) {
					return writeJSON(c, seen)
				}
				return writeProviders(c.OutOrStdout(), seen)
			})
		}})
}

func writeProviders(w io.Writer, all []seenProvider) error {
	dash := func(s string) any {
		if s == "" {
			return "-"
		}
		return s
	}
	err := writeTable(w, all, []column[seenProvider]{
		{"NAME", func(p seenProvider) any { return p.Name }},
		{"URL", func(p seenProvider) any { return dash(p.URL) }},
		{"VASA", func(p seenProvider) any { return dash(p.VASAVersion) }},
		{"STATE", func(p seenProvider) any { return dash(p.State) }},
		{"CERTIFICATE", func(p seenProvider) any { return dash(p.Certificate.State) }},
		{"EXPIRES", func(p seenProvider) any { return dash(p.Certificate.Expires) }},
		{"LAST SYNC", func(p seenProvider) any { return dash(p.LastSync) }},
		{"OURS", func(p seenProvider) any { return dash(p.Ours) }},
		{"UID", func(p seenProvider) any { return p.UID }},
	})
	for _, p := range all {
		fmt.Fprintf(w, "\n%s is %s: %s.\n", p.Name, dash(p.State), p.StateMeans)
		if p.Fault != "" {
			fmt.Fprintf(w, "  %s\n", p.Fault)
		}
		if p.Certificate.State != "" {
			fmt.Fprintf(w, "  Its certificate is %s: %s.\n", p.Certificate.State, p.Certificate.StateMeans)
		}
		for _, problem := range p.Problems {
			fmt.Fprintf(w, "  Seen from here: %s.\n", problem)
		}
	}
	return err
}

// identity is what is known of our own provider.
type identity struct{ URL, UID string }

// ownProvider asks the array at VVSIM_API; one that does not run is known by
// VVSIM_VASA_URL only.
func ownProvider(ctx context.Context) identity {
	var own identity
	if p, err := call[api.Provider](ctx, http.MethodGet, "/provider", nil); err == nil {
		own = identity{p.URL, p.UID}
	}
	if given := os.Getenv("VVSIM_VASA_URL"); given != "" {
		own.URL = given
	}
	return own
}

// look tells whether a provider is ours, and what is wrong with one that is not online.
func (own identity) look(ctx context.Context, p vcenter.Provider) seenProvider {
	seen := seenProvider{Provider: p}
	switch {
	case p.Is(own.UID):
		seen.Ours = "uid"
	case own.URL != "" && p.At(own.URL):
		seen.Ours = "url"
	}
	if seen.Ours == "" || p.State == "online" {
		return seen
	}
	anchors, err := ownCA()
	if err == nil {
		var cert *vcenter.Presented
		if cert, err = vcenter.Present(ctx, p.URL, anchors, time.Now()); err == nil {
			seen.Problems = cert.Diagnosis.Problems
		}
	}
	if err != nil {
		seen.Problems = []string{err.Error()}
	}
	return seen
}

// ownCA reads the certificates that VVSIM_CA names, if it is set.
func ownCA() ([]*x509.Certificate, error) {
	path := os.Getenv("VVSIM_CA")
	if path == "" {
		return nil, nil
	}
	all, err := vcenter.ReadCertificates(path)
	if err != nil {
		return nil, fmt.Errorf("VVSIM_CA: %w", err)
	}
	return all, nil
}

// withVCenter logs in, does what is to be done, and logs out.
func withVCenter(c *cobra.Command, do func(context.Context, *vcenter.Session) error) error {
	target, err := vcenter.FromEnvironment(os.Getenv)
	if err != nil {
		return err
	}
	if target.Password == "" {
		if target.Password, err = askSecret("password of " + target.User + " at " + target.URL.Host); err != nil {
			return wrongUsage(c, fmt.Errorf("GOVC_PASSWORD is not set: %w", err))
		}
	}
	ctx, cancel, err := deadline(c)
	if err != nil {
		return err
	}
	defer cancel()
	s, err := vcenter.Connect(ctx, target)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, s), s.Close())
}

func deadline(c *cobra.Command) (context.Context, context.CancelFunc, error) {
	d, err := c.Flags().GetDuration("timeout")
	if err != nil || d <= 0 {
		return nil, nil, wrongUsage(c, errors.New("--timeout: it has to be more than 0"))
	}
	ctx, cancel := context.WithTimeout(c.Context(), d)
	return ctx, cancel, nil
}

func registerProvider(c *cobra.Command, _ []string) error {
	if _, err := vcenter.FromEnvironment(os.Getenv); err != nil {
		return err
	}
	ctx, cancel, err := deadline(c)
	if err != nil {
		return err
	}
	spec, err := providerSpec(ctx, c)
	cancel() // what a person takes to confirm is not counted
	if err != nil {
		return err
	}
	presented, err := confirmCertificate(c, spec)
	if err != nil {
		return err
	}
	spec.Certificate = presented.Leaf
	return withVCenter(c, func(ctx context.Context, s *vcenter.Session) error {
		p, err := s.Register(ctx, spec)
		if fault, ok := errors.AsType[*vcenter.FaultError](err); ok && fault.OfCertificate() && !presented.Diagnosis.Trusted {
			return fmt.Errorf("%w (seen from here: %s)", err, strings.Join(presented.Diagnosis.Problems, "; "))
		}
		if err != nil {
			return err
		}
		if wantsJSON(c) {
			return writeJSON(c, p)
		}
		w := c.OutOrStdout()
		fmt.Fprintf(w, "registered %s (%s)\n  %s: %s.\n", p.Name, p.UID, p.State, p.StateMeans)
		if p.Certificate.State != "" {
			fmt.Fprintf(w, "  certificate %s until %s: %s.\n", p.Certificate.State, p.Certificate.Expires, p.Certificate.StateMeans)
		}
		return nil
	})
}

// providerSpec reads the flags, and from the environment what they do not say.
func providerSpec(ctx context.Context, c *cobra.Command) (vcenter.Spec, error) {
	flag := func(name, variable string) string {
		if v := c.Flag(name).Value.String(); v != "" || variable == "" {
			return v
		}
		return os.Getenv(variable)
	}
	spec := vcenter.Spec{Name: flag("name", ""), Description: flag("description", ""), URL: flag("url", "VVSIM_VASA_URL"), User: flag("username", "VVSIM_VASA_USER")}
	if spec.URL == "" {
		spec.URL = ownProvider(ctx).URL
	}
	for _, f := range []struct{ name, value string }{{"--name", spec.Name}, {"--url or VVSIM_VASA_URL", spec.URL}, {"--username or VVSIM_VASA_USER", spec.User}} {
		if f.value == "" {
			return spec, wrongUsage(c, errMissing(f.name))
		}
	}
	var err error
	file := flag("password-file", "")
	switch {
	case file != "" && flag("password", "") != "":
		return spec, wrongUsage(c, errors.New("--password and --password-file exclude each other"))
	case file != "":
		spec.Password, err = vcenter.ReadSecret(file)
	default:
		spec.Password = flag("password", "VVSIM_VASA_PASSWORD")
	}
	if err == nil && spec.Password == "" {
		spec.Password, err = askSecret("password of the provider's user " + spec.User)
	}
	if err != nil {
		return spec, wrongUsage(c, fmt.Errorf("the provider's password: %w", err))
	}
	return spec, spec.Validate()
}

var errNoTerminal = errors.New("there is no terminal to ask on")

// askSecret asks for a secret without showing it.
func askSecret(what string) (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", errNoTerminal
	}
	fmt.Fprint(os.Stderr, what+": ")
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	if err == nil && len(b) == 0 {
		err = errors.New("none was given")
	}
	return string(b), err
}

// confirmCertificate shows what the provider presents and has it confirmed. An error means
// that it is not.
func confirmCertificate(c *cobra.Command, spec vcenter.Spec) (*vcenter.Presented, error) {
	anchors, err := ownCA()
	if err != nil {
		return nil, wrongUsage(c, err)
	}
	p, err := vcenter.Present(c.Context(), spec.URL, anchors, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%w: does the array run, and is its provider's address one that can be reached from here and from vCenter?", err)
	}
	w := c.OutOrStdout()
	if wantsJSON(c) { // that goes to standard output alone
		w = c.ErrOrStderr()
	}
	fmt.Fprintf(w, "%s presents the certificate\n  subject  %s\n  issuer   %s\n  valid    %s to %s\n  names    %s\n  SHA-1    %s\n  SHA-256  %s\n", spec.URL, p.Certificate.Subject,
		p.Certificate.Issuer, p.Certificate.NotBefore.Format(time.RFC3339), p.Certificate.NotAfter.Format(time.RFC3339), strings.Join(p.Certificate.Names, ", "), p.Certificate.SHA1, p.Certificate.SHA256)
	for _, problem := range p.Diagnosis.Problems {
		fmt.Fprintf(w, "  PROBLEM  %s\n", problem)
	}
	for _, warning := range p.Diagnosis.Warnings {
		fmt.Fprintf(w, "  warning  %s\n", warning.Text)
	}
	if thumbprint := c.Flag("thumbprint").Value.String(); thumbprint != "" {
		ok, err := p.Matches(thumbprint)
		if err != nil {
			return nil, wrongUsage(c, fmt.Errorf("--thumbprint: %w", err))
		}
		if !ok {
			return nil, fmt.Errorf("the provider presents another certificate than the one with thumbprint %s: nothing was registered", thumbprint)
		}
		return p, nil
	}
	if yes, err := c.Flags().GetBool("yes"); err != nil || yes {
		return p, err
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil, wrongUsage(c, fmt.Errorf("the certificate is not confirmed, and %w: give --thumbprint %s if that is the array's, or --yes", errNoTerminal, p.Certificate.SHA256))
	}
	fmt.Fprint(os.Stderr, "Is that the array's certificate? [y/N] ")
	answer, err := bufio.NewReader(io.LimitReader(os.Stdin, 64)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return p, err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return nil, errors.New("the certificate was not confirmed: nothing was registered")
	}
	return p, nil
}
