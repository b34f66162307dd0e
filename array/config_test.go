package array

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// write puts text into a file of its own.
func write(t testing.TB, text string) string {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestDefaultsAreValid(t *testing.T) {
	c, err := LoadConfig("", nil, nil)
	require.NoError(t, err)
	require.Equal(t, DefaultConfig(), c)
	empty, err := LoadConfig(write(t, "# nothing\n"), nil, nil)
	require.NoError(t, err)
	require.Equal(t, c, empty)
}

// TestPrecedence sets one key in all three places: flag beats variable beats file.
func TestPrecedence(t *testing.T) {
	file := write(t, "data: file\nlog: {level: debug}\nstore: {durability: sync}\n")
	environ := []string{"VVSIM_DATA=variable", "VVSIM_LOG_LEVEL=warn", "VVSIM_API=", "PATH=/bin", "VVSIM_IQN=iqn.x"}
	c, err := LoadConfig(file, environ, map[string]string{"data": "flag"})
	require.NoError(t, err)
	require.Equal(t, "flag", c.Data)
	require.Equal(t, "warn", c.Log.Level)
	require.Equal(t, "sync", c.Store.Durability)
	require.Equal(t, DefaultConfig().API.Addr, c.API.Addr, "an empty variable is not set")
}

// TestEveryKeyFromEverywhere sets every key in the file, and by its variable: both
// give the same configuration.
func TestEveryKeyFromEverywhere(t *testing.T) {
	secret := write(t, "of the discovery session\n")
	values := map[string]string{
		"data": "d", "env_file": "e", "iscsi.portals": "127.0.0.1:0,127.0.0.2:0", "iscsi.target_name": "iqn.2026-01.test:t",
		"iscsi.allow_anonymous": "true", "iscsi.initiators": `[{iqn: "iqn.2026-01.test:a", chap: {user: u, secret: "one secret, 20 bytes"}}]`,
		"iscsi.chap.user": "lab", "iscsi.chap.secret": "1234567890123456", "iscsi.chap.secret_file": "",
		"iscsi.discovery_chap.user": "null", "iscsi.discovery_chap.secret": "", "iscsi.discovery_chap.secret_file": secret,
		"iscsi.nop_interval": "5s", "iscsi.nop_timeout": "6s", "iscsi.login_timeout": "7s", "iscsi.max_sessions": "9", "iscsi.command_window": "64",
		"vasa.addr": "127.0.0.1:1", "vasa.public_url": "https://h/vasa/version.xml", "vasa.user": "u", "vasa.password": "p", "vasa.password_file": "",
		"vasa.retain_certificate": "false", "vasa.session_timeout": "1m", "vasa.requests_per_session": "5", "vasa.batch_size": "7", "vasa.version_form": "B",
		"vasa.version_file": "f", "vasa.strict": "true", "vasa.bitmap_msb_first": "true", "vasa.events_from_zero": "true", "vasa.unshared_valid": "true",
		"vasa.endpoints_by_id": "true", "vasa.snapshots": "writable", "vasa.tasks_run_first": "true", "vasa.closed_bootstrap": "true", "vasa.skip_expired_roots": "true", "vasa.strict_crl_dates": "true", "vasa.max_vvol_size_mb": "9",
		"api.addr": "127.0.0.1:2", "api.token": "0123", "log.level": "warn", "log.format": "json",
		"store.durability": "sync", "store.journal_mib": "32", "store.end_dead_logs": "false", "protocol_endpoints": "[{name: pe1, lun: 300}, {name: pe2, lun: 301}]",
		"esxi.pe_capacity": "zero", "esxi.pe_media": "zeros", "esxi.pe_mode_sense": "refuse", "esxi.secondary_form": "d2", "esxi.unbound_sense": "68/01", "esxi.bind_attention": "none",
		"esxi.reset_subsidiaries": "true", "esxi.conglomerate_reports": "false", "esxi.explicit_alua": "true", "esxi.login_unavailable": "0204",
		"drain_timeout": "1m30s", "faults": "lu vvol=a -> pdl,vasa -> hang",
	}
	var environ []string
	c := DefaultConfig()
	for _, key := range configKeys() {
		value, ok := values[key]
		require.True(t, ok, "%s is not tried here", key)
		if value == "" {
			continue
		}
		environ = append(environ, "VVSIM_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))+"="+value)
		require.NoError(t, c.set(key, value))
	}
	require.NoError(t, c.Validate())
	loaded, err := LoadConfig("", environ, nil)
	require.NoError(t, err)
	require.Equal(t, c, loaded)
	require.Equal(t, []string{"127.0.0.1:0", "127.0.0.2:0"}, loaded.ISCSI.Portals)
	require.Equal(t, []Initiator{{IQN: "iqn.2026-01.test:a", CHAP: &CHAP{User: "u", Secret: "one secret, 20 bytes"}}}, loaded.ISCSI.Initiators)
	require.Equal(t, &CHAP{User: "lab", Secret: "1234567890123456"}, loaded.ISCSI.CHAP)
	require.Equal(t, &CHAP{User: "null", Secret: "of the discovery session"}, loaded.ISCSI.DiscoveryCHAP)
	require.Equal(t, "0123", loaded.API.Token)
	require.Equal(t, []PEConfig{{"pe1", 300}, {"pe2", 301}}, loaded.PEs)
	require.Equal(t, "0204", loaded.ESXi.LoginUnavailable)
	require.Equal(t, 90*time.Second, time.Duration(loaded.Drain))
	require.Empty(t, UnknownVariables(environ))
	require.Equal(t, []string{"VVSIM_STORE_DURABLITY"}, UnknownVariables([]string{"VVSIM_STORE_DURABLITY=sync", "VVSIM_PID=1", "HOME=/"}))
}

// TestWrongConfiguration: one line that says what and where.
func TestWrongConfiguration(t *testing.T) {
	for _, x := range []struct{ file, variable, flag, want string }{
		{file: "dta: x", want: "line 1: unknown key dta"},
		{file: "log:\n  level: info\niscsi:\n  portal: x", want: "line 4: unknown key iscsi.portal"},
		{file: "iscsi:\n  initiators:\n  - iqn: iqn.x\n    chap: {user: u, sekret: x}", want: "line 4: unknown key iscsi.initiators[0].chap.sekret"},
		{file: "esxi: {pe_size: 1}", want: "line 1: unknown key esxi.pe_size"},
		{file: "data: a\ndata: b", want: `line 2: mapping key "data" already defined at line 1`},
		{file: "a: [\nb", want: "line 2: did not find expected"},
		{file: "data: a\n---\ndata: b", want: "more than one document"},
		{file: "iscsi: {portals: 3}", want: "line 1: cannot unmarshal !!int `3` where a list is wanted"},
		{file: "\niscsi: {nop_timeout: 3}", want: `line 2: "3" is no duration such as 30s`},
		{file: "\n- a", want: "line 2: cannot unmarshal !!seq here"},
		{file: "data: ''", want: "data: a directory or :memory: is needed"},
		{flag: "data=", want: "data: a directory or :memory: is needed"},
		{flag: "dat=x", want: "unknown key dat"},
		{variable: "VVSIM_ISCSI_NOP_TIMEOUT=x", want: `variable VVSIM_ISCSI_NOP_TIMEOUT: "x" is no duration`},
		{variable: "VVSIM_ISCSI_MAX_SESSIONS=many", want: "variable VVSIM_ISCSI_MAX_SESSIONS: cannot unmarshal !!str `many` where a number is wanted"},
		{variable: "VVSIM_PROTOCOL_ENDPOINTS=[{nam: x}]", want: "variable VVSIM_PROTOCOL_ENDPOINTS: unknown key protocol_endpoints[0].nam"},
		{variable: "VVSIM_PROTOCOL_ENDPOINTS=[", want: "variable VVSIM_PROTOCOL_ENDPOINTS: \"[\" is no list in YAML"},
		{file: "iscsi: {portals: []}", want: "number of iscsi.portals: 0 is not in 1-64"},
		{file: "protocol_endpoints: []", want: "number of protocol_endpoints: 0 is not in 1-64"},
		{file: "protocol_endpoints: [{name: a, lun: 0}]", want: "protocol_endpoints[0].lun: 0 is not in 1-16383 or taken"},
		{file: "protocol_endpoints: [{name: a, lun: 1}, {name: a, lun: 2}]", want: `protocol_endpoints[1].name: "a" is empty or taken`},
		{file: "protocol_endpoints: [{name: a, lun: 1}, {name: b, lun: 1}]", want: "protocol_endpoints[1].lun: 1 is not in 1-16383 or taken"},
		{file: "protocol_endpoints: [{name: a, lun: 70000}]", want: "where a number from 0 to 65535 is wanted"},
		{file: "iscsi: {max_sessions: 0}", want: "iscsi.max_sessions: 0 is not in 1-65535"},
		{file: "iscsi: {command_window: 15}", want: "iscsi.command_window: 15 is not in 16-4096"},
		{file: "iscsi: {login_timeout: -1s}", want: "iscsi.login_timeout: -1s is not in 100ms-1h0m0s"},
		{file: "faults: [vasa -> hang, lu -> explode]", want: `faults[1]: invalid argument: fault rule, column 7: "explode": an action of lu is pdl`},
		{file: "faults: [lu keep -> pdl]", want: "faults[0]: keep is for rules that are added while the array runs"},
		{file: "drain_timeout: 2h", want: "drain_timeout: 2h0m0s is not in 100ms-1h0m0s"},
		{file: "store: {journal_mib: 5000}", want: "store.journal_mib: 5000 is not in 16-4096"},
		{file: "store: {durability: maybe}", want: `store.durability: "maybe" is neither flush nor sync`},
		{file: "log: {level: loud}", want: `log.level: "loud" is none of debug, info, warn, error`},
		{file: "log: {format: xml}", want: `log.format: "xml" is none of console, json, auto`},
		{file: "iscsi: {target_name: array}", want: `iscsi.target_name: "array" is no iSCSI name`},
		{file: "iscsi: {portals: ['127.0.0.1']}", want: `iscsi.portals[0]: "127.0.0.1" is not HOST:PORT`},
		{file: "iscsi: {portals: ['127.0.0.1:x1']}", want: `iscsi.portals[0]: "127.0.0.1:x1" has no valid port`},
		{file: "api: {addr: '127.0.0.1:99999'}", want: `api.addr: "127.0.0.1:99999" has no valid port`},
		{file: "vasa: {addr: nowhere}", want: `vasa.addr: "nowhere" is not HOST:PORT`},
		{file: "vasa: {version_form: C}", want: `vasa.version_form: "C" is neither A nor B`},
		{file: "vasa: {snapshots: frozen}", want: `vasa.snapshots: "frozen" is none of as-asked, read-only, writable`},
		{file: "esxi: {pe_capacity: huge}", want: `esxi.pe_capacity: "huge" is none of`},
		{file: "esxi: {pe_media: huge}", want: `esxi.pe_media: "huge" is none of`},
		{file: "esxi: {pe_mode_sense: maybe}", want: `esxi.pe_mode_sense: "maybe" is neither serve nor refuse`},
		{file: "esxi: {secondary_form: c1}", want: `esxi.secondary_form: "c1" is none of e2, d2, simple`},
		{file: "esxi: {unbound_sense: 04/00}", want: `esxi.unbound_sense: "04/00" is neither`},
		{file: "esxi: {bind_attention: 3f/0f}", want: `esxi.bind_attention: "3f/0f" is none of`},
		{file: "esxi: {login_unavailable: 0201}", want: `esxi.login_unavailable: "0201" is none of`},
		// contract.md 6
		{file: "iscsi: {chap: {user: u, secret: 12345678901}}", want: "iscsi.chap: the secret has 11 bytes; 12 to 255 are allowed"},
		{file: "iscsi: {chap: {user: u, secret: " + strings.Repeat("x", 256) + "}}", want: "iscsi.chap: the secret has 256 bytes"},
		{file: "iscsi: {chap: {secret: 123456789012}}", want: "iscsi.chap: user is missing"},
		{file: "iscsi: {chap: {user: u, secret: 123456789012, secret_file: x}}", want: "iscsi.chap: secret and secret_file exclude each other"},
		{file: "iscsi: {chap: {user: u, secret_file: /nowhere/secret}}", want: "iscsi.chap: secret_file: open /nowhere/secret: no such file"},
		{file: "iscsi: {discovery_chap: {user: u}}", want: "iscsi.discovery_chap: the secret has 0 bytes"},
		{file: "iscsi: {initiators: [{iqn: host}]}", want: `iscsi.initiators[0].iqn: "host" is no iSCSI name`},
		{file: "iscsi: {initiators: [{iqn: iqn.2026-01.test:a}, {iqn: iqn.2026-01.test:a}]}", want: `iscsi.initiators[1].iqn: "iqn.2026-01.test:a" stands twice`},
		{file: "iscsi: {initiators: [{iqn: iqn.2026-01.test:a, mutual: {user: m, secret: 123456789012}}]}", want: "iscsi.initiators[0].mutual: mutual CHAP needs chap"},
		{file: "iscsi: {initiators: [{iqn: iqn.2026-01.test:a, chap: {user: u, secret: 123456789012}, mutual: {user: m, secret: 123456789012}}]}",
			want: "iscsi.initiators[0].mutual: the two directions need different secrets"},
		{file: "iscsi: {initiators: [{iqn: iqn.2026-01.test:a, mutual: {user: m, secret: 123456789012}}], chap: {user: u, secret: 123456789012}}",
			want: "iscsi.initiators[0].mutual: the two directions need different secrets"},
		// contract.md 2: doors to the network have a lock
		{flag: "api.addr=0.0.0.0:8474", want: "api.addr: 0.0.0.0:8474 is not a loopback address; set api.token (VVSIM_TOKEN)"},
		{flag: "api.addr=:8474", want: "api.addr: :8474 is not a loopback address"},
		{flag: "iscsi.portals=127.0.0.1:3260,192.0.2.1:3260", want: "iscsi.portals: 192.0.2.1:3260 is not a loopback address; set iscsi.chap, or iscsi.allow_anonymous: true"},
		{file: "iscsi: {portals: ['[::]:3260'], initiators: [{iqn: iqn.2026-01.test:a}]}", want: "iscsi.portals: [::]:3260 is not a loopback address"},
	} {
		flags := map[string]string{}
		if key, value, ok := strings.Cut(x.flag, "="); ok {
			flags[key] = value
		}
		file := ""
		if x.file != "" {
			file = write(t, x.file)
		}
		_, err := LoadConfig(file, []string{x.variable}, flags)
		require.ErrorIs(t, err, ErrConfig, "%+v", x)
		require.ErrorContains(t, err, x.want)
		require.NotContains(t, err.Error(), "\n")
		require.NotContains(t, err.Error(), "array.", "a Go type in %q", err)
	}
	_, err := LoadConfig("", []string{"VVSIM_API=127.0.0.1:1", "VVSIM_API_ADDR=127.0.0.1:2"}, nil)
	require.ErrorContains(t, err, "differ and mean the same key api.addr")
	_, err = LoadConfig("/nowhere/c.yaml", nil, nil)
	require.ErrorContains(t, err, "/nowhere/c.yaml")
	_, err = LoadConfig(write(t, strings.Repeat("#", maxConfigFile+1)), nil, nil)
	require.ErrorContains(t, err, "larger than 1048576 bytes")
}

// TestSecrets reads secrets from all their places.
func TestSecrets(t *testing.T) {
	file := write(t, "from-a-file-1\r\n")
	same := write(t, "iscsi: {chap: {user: u, secret_file: "+file+"}, initiators: [{iqn: iqn.2026-01.test:a, mutual: {user: m, secret: from-a-file-1}}]}")
	_, err := LoadConfig(same, nil, nil)
	require.ErrorContains(t, err, "iscsi.initiators[0].mutual: the two directions need different secrets")

	config := write(t, "iscsi: {chap: {user: u, secret_file: "+file+"}}")
	c, err := LoadConfig(config, nil, nil)
	require.NoError(t, err)
	require.Equal(t, "from-a-file-1", c.ISCSI.CHAP.Secret)
	c, err = LoadConfig(config, []string{"VVSIM_ISCSI_CHAP_SECRET=of-the-variable"}, nil)
	require.NoError(t, err, "the variable replaces the file")
	require.Equal(t, "of-the-variable", c.ISCSI.CHAP.Secret)
	c, err = LoadConfig(write(t, "iscsi: {chap: {user: u, secret: of-the-config}}"), []string{"VVSIM_ISCSI_CHAP_SECRET_FILE=" + file}, nil)
	require.NoError(t, err)
	require.Equal(t, "from-a-file-1", c.ISCSI.CHAP.Secret)
}

// TestOpenDoors: what opens a door to the network.
func TestOpenDoors(t *testing.T) {
	for _, x := range []string{
		"api: {addr: '0.0.0.0:0', token: secret}",
		"iscsi: {portals: ['0.0.0.0:0'], allow_anonymous: true}",
		"iscsi: {portals: ['0.0.0.0:0'], chap: {user: u, secret: 123456789012}}",
		"iscsi: {portals: ['0.0.0.0:0'], initiators: [{iqn: iqn.2026-01.test:a, chap: {user: u, secret: 123456789012}}]}",
		"iscsi: {portals: ['[::1]:0', 'localhost:0', '127.1.2.3:0']}",
	} {
		_, err := LoadConfig(write(t, x), nil, nil)
		require.NoError(t, err, x)
	}
}

// FuzzConfig: any file is an error or a valid configuration.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{"", "data: x", "iscsi: {portals: [a, b], chap: {user: u, secret: 123456789012}}", "a: &a [*a]",
		"protocol_endpoints: [{name: pe0, lun: 256}]", "esxi: {login_unavailable: 0203}", "<<: {data: x}", "drain_timeout: 1e9h", "\x00", "? [a]\n: b",
		"iscsi: {initiators: [{iqn: iqn.2026-01.test:a, mutual: {secret: x}}]}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Contains(string(b), "secret_file") {
			return // reads files
		}
		c := DefaultConfig()
		if err := c.decode(b); err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		if c.Validate() == nil {
			require.NoError(t, c.Validate(), "a second look")
			require.NotEmpty(t, c.Data)
			require.NotEmpty(t, c.ISCSI.Portals)
		}
	})
}
