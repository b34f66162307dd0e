package negotiate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{
		"iqn.1998-01.com.vmware:esx1-1a2b3c4d", "iqn.2008-11.org.linux-kvm", "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-ls",
		"iqn.1991-05.com.microsoft:HOST_1", "iqn.2026-01.test:b\u00fccher", "eui.02004567A425678D", "naa.52004567BA64678D",
		"naa.62004567BA64678D0123456789ABCDEF", "iqn.2026-01.test:" + strings.Repeat("a", MaxName-17),
	} {
		require.NoError(t, CheckName(name), name)
	}
	for name, want := range map[string]string{
		"": "0 bytes", "iqn.2026-01.test:" + strings.Repeat("a", MaxName-16): "224 bytes", "iqn.2026-01.test:\xff\xfe": "not UTF-8",
		"iqn.2026-01.test:a b": `character ' '`, "iqn.2026-01.test:a\n": `character '\n'`, "iqn.2026-01.test:\u2028": `character '\u2028'`,
		"iqn.2026-01.test:a,b": `character ','`, "host": "does not begin", "disk.2026-01.test": "does not begin", "iqn": "no date",
		"iqn.test": "no date", "iqn.2026-13.test": "no date", "iqn.26-01.test": "no date", "iqn.2026-01": "no domain",
		"iqn.2026-01.": "no domain", "iqn.2026-01.:a": "no domain", "eui.02004567": "[16] hexadecimal", "eui.02004567A425678G": "[16] hexadecimal",
		"naa.52004567BA64678D0": "[16 32] hexadecimal",
	} {
		require.ErrorContains(t, CheckName(name), want, "%q", name)
	}
}
