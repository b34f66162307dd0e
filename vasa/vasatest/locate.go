package vasatest

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
)

// apiVersion is the version of the API that the actors speak.
const apiVersion = "2.0"

// supportedVersions is version.xml, in either of the forms that are believed in (vasa.md 1.1).
type supportedVersions struct {
	Version []struct {
		ID        string `xml:"id,attr"`
		Attribute string `xml:"serviceLocation,attr"`
		Element   string `xml:"serviceLocation"`
	} `xml:"version"`
}

// Locate finds the SOAP service behind a URL: what version.xml names for VASA 2.0, or the
// URL itself when it does not end in .xml, as providers of VASA 1.0 were registered.
func Locate(ctx context.Context, address string) (service string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("%q is not https://HOST/PATH", address)
	}
	if !strings.HasSuffix(u.Path, ".xml") {
		return address, nil
	}
	c, err := New(Options{URL: address})
	if err != nil {
		return "", err
	}
	defer c.Close()
	body, _, err := c.Get(ctx, address)
	if err != nil {
		return "", err
	}
	var s supportedVersions
	if err := xml.Unmarshal(body, &s); err != nil {
		return "", fmt.Errorf("%s: %w", address, err)
	}
	var offered []string
	for _, v := range s.Version {
		if offered = append(offered, v.ID); v.ID != apiVersion {
			continue
		}
		where, err := u.Parse(strings.TrimSpace(v.Attribute + v.Element))
		if err != nil {
			return "", fmt.Errorf("%s: service location: %w", address, err)
		}
		return where.String(), nil
	}
	return "", fmt.Errorf("%s offers versions %q, not %s", address, offered, apiVersion)
}
