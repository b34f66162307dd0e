package trust

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// names are what a certificate of the provider is for.
type names struct {
	first string // the common name
	dns   []string
	ips   []net.IP
}

// wanted are the names of the own certificate: the advertised host, the machine's name,
// the listen addresses, and localhost.
func (o *Options) wanted() (*names, error) {
	n, err := o.outside()
	if err != nil {
		return nil, err
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := n.add(host); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// outside are the names for a certificate that somebody else signs: without localhost,
// unless that is what the provider listens on.
func (o *Options) outside() (*names, error) {
	n := &names{}
	host, err := hostOf(o.URL)
	if err != nil {
		return nil, err
	}
	if host != "" {
		if err := n.add(host); err != nil {
			return nil, fmt.Errorf("URL %q: %w", o.URL, err)
		}
	}
	// The operating system's name may be none of DNS's: then nobody reaches us by it.
	if domain(o.HostName) {
		if err := n.add(o.HostName); err != nil {
			return nil, err
		}
	}
	for _, address := range o.Addresses {
		if err := o.listens(n, address); err != nil {
			return nil, fmt.Errorf("listen address %q: %w", address, err)
		}
	}
	return n, nil
}

// listens adds a listen address, a wildcard as all addresses of the machine.
func (o *Options) listens(n *names, address string) error {
	if host := listenHost(address); host != "" {
		return n.add(host)
	}
	all, err := o.Interfaces()
	if err != nil {
		return err
	}
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().IsLinkLocalUnicast() {
			continue // needs a zone, which no certificate can name
		}
		if err := n.add(prefix.Addr().String()); err != nil {
			return err
		}
	}
	return nil
}

// listenHost is the host of a listen address, empty for a wildcard.
func listenHost(address string) string {
	host := strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	if _, err := netip.ParseAddr(host); err != nil {
		if h, _, err := net.SplitHostPort(address); err == nil {
			host = h
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return ""
	}
	return host
}

// told is the host by which clients know the provider: that of its URL or, without one, where
// it listens if that is one place; else empty.
func (o *Options) told() string {
	if host, err := hostOf(o.URL); err == nil && host != "" {
		return host
	}
	if len(o.Addresses) == 1 {
		return listenHost(o.Addresses[0])
	}
	return ""
}

func (n *names) add(host string) error {
	if len(n.dns)+len(n.ips) >= MaxNames {
		return &LimitError{"names in a certificate", MaxNames}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap().WithZone("")
		host = ip.String()
		if !slices.ContainsFunc(n.ips, net.IP(ip.AsSlice()).Equal) {
			n.ips = append(n.ips, ip.AsSlice())
		}
	} else {
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		if !domain(host) {
			return fmt.Errorf("%q is no host name", host)
		}
		if !slices.Contains(n.dns, host) {
			n.dns = append(n.dns, host)
		}
	}
	if n.first == "" {
		n.first = host
	}
	return nil
}

// common is the common name: at most 64 characters (RFC 5280 A.1, ub-common-name).
func (n *names) common() string {
	if n.first == "" || len(n.first) > 64 {
		return "vvsim"
	}
	return n.first
}

// missing are the names that cert does not hold.
func (n *names) missing(cert *x509.Certificate) (all []string) {
	for _, host := range n.dns {
		if cert.VerifyHostname(host) != nil {
			all = append(all, host)
		}
	}
	for _, ip := range n.ips {
		if cert.VerifyHostname(ip.String()) != nil {
			all = append(all, ip.String())
		}
	}
	return all
}

// domain tells whether a host name can stand in a certificate and in a URL.
func domain(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return false
			}
		}
	}
	return true
}

// hostOf is the host in a provider's URL; "" of no URL.
func hostOf(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	if len(raw) > MaxCredential {
		return "", fmt.Errorf("URL of more than %d bytes, which vCenter does not take", MaxCredential)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("URL %q is not https://HOST…", raw)
	}
	return u.Hostname(), nil
}
