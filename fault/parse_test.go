package fault

import (
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"vvsim/fault/grammar"
	"vvsim/vvol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Parsing then printing gives the same line (contract.md 5).
func TestRoundTrip(t *testing.T) {
	for _, line := range []string{
		"lu vvol=disk1 host=iqn.1998-01.com.vmware:esx1 pe=pe0 portal=2 op=read lba=0-2047 after=3 count=2 p=0.01 seed=7 for=30s -> pdl",
		`lu vvol="my disk" op=0x89 every=5 keep -> sense 5/25/0`,
		"lu name=flap.1 on=first from=10s for=5s each=1m30s -> hang", "login name=a keep on=7 -> reject 0x0203",
		"lu -> attention 2A/06", "lu portal=1 each=1m for=1s -> attention 3f/e", "lu portal=2 -> alua standby", "lu -> alua transitioning",
		"lu vvol=a op=0x89 -> miscompare", "lu vvol=a -> reservation-lost", "lu each=1m for=1s -> reservation-lost released", "lu vvol=a lba=1-1048576 -> medium-error", "engine vvol=a lba=7 -> medium-error", "engine lba=7 op=write -> no-space",
		"lu -> pdl 04/3E/01", "lu -> pdl 5/68/1", "lu -> apd", "lu op=any -> apd drop", "lu op=media lba=8 -> busy", "lu -> task-set-full", "lu -> reservation-conflict",
		"lu op=write -> delay 10ms..50ms", "lu -> delay 1s", "lu -> hang", "lu -> drop-response", "lu op=read -> corrupt", "lu -> corrupt 511",
		"lu -> torn 4096", "lu op=0x2a -> torn 0 silent", "lu -> torn 100", "lu portal=1 -> unavailable", "lu -> no-space", "lu -> sense 0x4/0x3e/0x1",
		"lu session=7 -> busy", `lu container="my pool" vvol=a -> no-space`, "engine container=default -> corrupt", "path -> down", "path portal=2 host=iqn.1998-01.com.vmware:esx1 session=3 after=1 count=2 every=2 p=0.5 seed=4 for=1s each=3s -> stall",
		"path -> stall in", "path keep -> stall out", "path count=1 -> reset", "path -> reset 5s", "path -> reset 5s..1m", "path -> delay 10ms..50ms",
		"path -> logout", "path -> logout 1m30s", "path -> drop-connection", "path -> drop-session",
		"lu -> late 5s", "lu op=write -> late 1s..2s", "lu count=1 -> duplicate", "lu -> short 100", "lu op=write -> short 512", "lu -> residual 0", "lu -> residual 512 over",
		"lu -> digest", "lu op=read -> digest header", "path -> rate 10MiB/s", "path -> rate 1024B/s", "path -> rate 1KiB/s", "path -> rate 1024GiB/s",
		"login host=iqn.1998-01.com.vmware:esx1 -> reject 0x0203", "login count=1 -> reject 0x0302",
		"login portal=2 -> redirect 10.0.0.2:3260", "login -> redirect [fd00::2]:3260,7 permanent", "login -> hang", "login -> delay 1s..2s",
		"vasa op=bindVirtualVolume -> fault ResourceInUse", "vasa -> hang", "vasa -> delay 2s", "vasa p=0.5 -> drop",
		"vasa host=iqn.1998-01.com.vmware:esx1 vvol=\"my disk\" container=default op=bindVirtualVolume count=1 -> hang", "vasa container=default -> fault OutOfResource",
		"vasa vvol=disk1 -> drop-session", "vasa host=iqn.x -> event-storm 5", "vasa host=iqn.x op=getEvents -> lose-events", "vasa -> down", "vasa for=1m -> certificate untrusted", "vasa op=queryArrays -> drop-session", "vasa op=getEvents -> lose-events", "vasa -> event-storm 2000",
		"engine vvol=disk1 op=read -> medium-error", "engine op=write -> no-space", "engine op=flush -> delay 5ms..20ms", "engine -> corrupt",
	} {
		r, err := Parse(line)
		require.NoError(t, err, line)
		require.Equal(t, line, r.String())
		columns := "  " + strings.ReplaceAll(line, " -> ", "\t->   ") + " "
		spaced, err := Parse(columns)
		require.NoError(t, err, line)
		require.Equal(t, columns, spaced.String())
		require.Equal(t, meaning(r), meaning(spaced))
	}
}

// meaning is a rule without its text.
func meaning(r *Rule) Rule {
	m := *r
	m.text = ""
	return m
}

// Errors name the column and what is allowed.
func TestRefused(t *testing.T) {
	for line, want := range map[string]string{
		"":                                               "column 1: a rule begins with lu, path, login, vasa or engine",
		"disk -> pdl":                                    `column 1: "disk": a rule begins with lu, path, login, vasa or engine`,
		"lu vvol=a":                                      "column 10: -> and an action are missing",
		"lu vvol=a ->":                                   "column 13: an action is missing: pdl [K/ASC/ASCQ], apd [drop],",
		"lu vvol=a -> explode":                           `column 14: "explode": an action of lu is pdl [K/ASC/ASCQ], apd [drop], sense K/ASC/ASCQ, busy,`,
		"lu vol=a -> pdl":                                `column 4: "vol=a": a rule of lu has vvol=, container=, host=, pe=, portal=, session=, op=, lba=, after=, count=, every=, p=, seed=, name=, on=, from=, for=, each= or keep, and then ->`,
		"lu keep=1 -> pdl":                               `column 4: "keep=1"`,
		"lu vvol -> pdl":                                 `column 4: "vvol"`,
		"lu vvol= -> pdl":                                "column 9: vvol has no value",
		`lu vvol="a -> pdl`:                              "a closing quote is missing",
		`lu vvol=a"b" -> pdl`:                            "column 9: vvol: a\"b\" is not quoted",
		"lu vvol=a vvol=b -> pdl":                        "column 11: vvol stands twice",
		"lu portal=0 -> pdl":                             `column 11: portal: "0" is no number from 1 to 65535`,
		"lu portal=65536 -> pdl":                         `"65536" is no number`,
		"lu op=erase -> pdl":                             `column 7: op: "erase" is none of read, write, media, any and an operation code such as 0x2a`,
		"lu op=0x100 -> pdl":                             `"0x100" is none of`,
		"lu lba=9-8 -> pdl":                              "9-8 ends before it begins",
		"lu lba=x -> pdl":                                `"x" is no number`,
		"lu p=0 -> pdl":                                  `"0" is no probability above 0 and up to 1`,
		"lu p=NaN -> pdl":                                "is no probability",
		"lu p=1.5 -> pdl":                                "is no probability",
		"lu count=0 -> pdl":                              `"0" is no number from 1`,
		"lu for=-1s -> pdl":                              `"-1s" is no time`,
		"lu for=9999h -> pdl":                            "up to 720h",
		"lu -> attention 2A":                             `"2A" is not two hexadecimal numbers up to ff: the action is attention ASC/ASCQ`,
		"lu op=read -> attention 2A/06":                  "column 15: attention is no answer to a command: it has neither op= nor lba=",
		"lu lba=1 -> attention 2A/06":                    "it has neither op= nor lba=",
		"lu op=read -> reservation-lost":                 "reservation-lost is no answer to a command",
		"lu -> reservation-lost soon":                    `"soon" is not released`,
		"lu -> alua offline":                             `"offline" is none of active-nonoptimized, standby, unavailable or transitioning: the action is alua STATE`,
		"lu -> unavailable now":                          `"now" is too much`,
		"lu op=read -> miscompare":                       "miscompare does not happen to commands that op= names",
		"lu vvol=a -> medium-error":                      "medium-error of lu needs lba=, the blocks that can't be read",
		"lu lba=4 -> medium-error":                       "medium-error with lba= needs vvol=",
		"engine lba=4 -> medium-error":                   "medium-error with lba= needs vvol=",
		"lu vvol=a lba=0-1048576 -> medium-error":        "medium-error has at most 1048576 blocks",
		"engine vvol=a lba=1 op=write -> medium-error":   "medium-error does not happen to what op= names",
		"engine vvol=a lba=1 op=flush -> delay 1s":       "delay does not happen to what op= names",
		"lu op=0x00 vvol=a lba=1 -> medium-error":        "names no blocks",
		"vasa -> certificate ugly":                       `"ugly" is none of expired, wrong-name or untrusted: the action is certificate FLAW`,
		"vasa op=x -> certificate expired":               "certificate: it is about connections, and has no op=, vvol=, container= or host=",
		"vasa vvol=a -> certificate expired":             "column 16: certificate: it is about connections, and has no op=, vvol=",
		"vasa container=a -> down":                       "down: it is about connections, and has no op=, vvol=",
		"vasa host=iqn.a -> down":                        "down: it is about connections, and has no op=, vvol=",
		"vasa vvol=a -> lose-events":                     "lose-events: it happens to getEvents, which is about no VVol and no container",
		"vasa container=a op=getEvents -> event-storm 1": "event-storm: it happens to getEvents, which is about no VVol and no container",
		"vasa portal=1 -> hang":                          `"portal=1": a rule of vasa has vvol=, container=, host=, op=, after=`,
		"vasa op=x -> down":                              "it is about connections, and has no op=",
		"vasa op=bind -> lose-events":                    "lose-events: it happens to getEvents alone",
		"vasa -> event-storm 0":                          `"0" is no number from 1 to 10000: the action is event-storm N`,
		"lu each=1m -> pdl":                              "column 12: each= needs for=, the time in force",
		"lu each=1m for=60s -> pdl":                      "column 20: for=1m0s is no part of each=1m0s",
		"lu each=1s for=9ms -> pdl":                      "column 20: for=9ms each=1s: in force and not take at least 10ms each",
		"lu each=19ms for=10ms -> pdl":                   "in force and not take at least 10ms each",
		"lu each=99ms for=10ms -> attention 2A/06":       "attention tells hosts when it comes: each= is at least 100ms",
		"lu each=50ms for=10ms -> alua standby":          "alua tells hosts when it comes",
		"lu from=0s -> pdl":                              `"0s" is no time`,
		"lu name=12 -> pdl":                              `column 9: name: "12" is no name: up to 64 bytes, with a letter`,
		"lu name=a/b -> pdl":                             `"a/b" has '/', and not only letters, digits, '-', '_' and '.'`,
		"lu on= -> pdl":                                  "column 7: on has no value",
		"lu -> pdl 3/11/0":                               "03/11/00 (MEDIUM ERROR) is no permanent loss: 5/25/00, 4/4C/00, 4/3E/01, 4/3E/03 or 5/68/01: the action is pdl [K/ASC/ASCQ]",
		"lu -> pdl now":                                  `"now" is not three hexadecimal numbers: the action is pdl [K/ASC/ASCQ]`,
		"lu -> apd later":                                `"later" is not drop: the action is apd [drop]`,
		"lu -> sense 5/25":                               `"5/25" is not three hexadecimal numbers: the action is sense K/ASC/ASCQ`,
		"lu -> sense 10/25/0":                            `"10" is no hexadecimal number up to f`,
		"lu -> sense 5/100/0":                            `"100" is no hexadecimal number up to ff`,
		"lu -> delay":                                    "one argument is needed, not 0: the action is delay TIME[..TIME]",
		"lu -> delay 50ms..10ms":                         "ends before it begins",
		"lu -> delay 2h":                                 "up to 1h",
		"lu -> torn":                                     "the number of bytes is missing",
		"lu -> torn 512 loud":                            `"loud" is not silent`,
		"lu op=read -> torn 512":                         "torn does not happen to commands that op= names",
		"lu op=read -> no-space":                         "no-space does not happen",
		"lu op=0x00 -> corrupt":                          "corrupt does not happen",
		"lu op=0x12 -> unavailable":                      "unavailable does not happen",
		"lu op=0x42 lba=1 -> busy":                       "a CDB of operation code 0x42 names no blocks, as lba= needs",
		"login vvol=a -> reject 0x0203":                  "a rule of login has host=, portal=, after=",
		"login -> reject 0x0100":                         `"0x0100" is none of 0x0200 to 0x020b and 0x0300 to 0x0302`,
		"login -> reject 515":                            "is none of",
		"vasa -> fault":                                  "the action is fault NAME",
		"engine op=media -> delay 1s":                    `"media" is none of read, write and flush`,
		"engine op=read -> no-space":                     "no-space does not happen to what op= names",
		"engine op=flush -> corrupt":                     "corrupt does not happen",
		"lu\n-> pdl":                                     "column 3: a rule is one line",
		"lu -> pdl\xff":                                  "is not UTF-8",
		"lu vvol=" + strings.Repeat("a", 800):            "a rule has at most 800 bytes",
		"path vvol=a -> down":                            "a rule of path has host=, portal=, session=, after=",
		"path session=0 -> down":                         `column 14: session: "0" is no number from 1`,
		"path -> pdl":                                    `"pdl": an action of path is delay TIME[..TIME], stall [in|out], reset [TIME[..TIME]], logout [TIME], drop-connection, drop-session, rate BYTES/s or down`,
		"path -> down now":                               `"now" is too much: the action is down`,
		"path -> stall both":                             `"both" is neither in nor out: the action is stall [in|out]`,
		"path -> stall in out":                           `"in out" is neither in nor out`,
		"path -> reset soon":                             `"soon" is no time such as`,
		"path -> reset 1s 2s":                            "one argument is needed, not 2",
		"path -> rate":                                   "one argument is needed, not 0: the action is rate BYTES/s",
		"path -> rate 10":                                `"10" is no rate such as 10MiB/s, from 1KiB/s to 1024GiB/s`,
		"path -> rate 1023B/s":                           `"1023B/s" is no rate`,
		"path -> rate 1025GiB/s":                         `"1025GiB/s" is no rate`,
		"path -> rate -1MiB/s":                           `"-1MiB/s" is no rate`,
		"path -> logout 1500ms":                          `"1500ms" are no whole seconds: the action is logout [TIME]`,
		"path -> logout 19h":                             "up to 18h12m15s",
		"lu -> short":                                    "one argument is needed, not 0: the action is short BYTES",
		"lu op=0x00 -> short 1":                          "short does not happen to commands that op= names",
		"lu op=write -> short 100":                       "short does not happen",
		"lu -> residual 1 under":                         "one argument is needed, not 2: the action is residual BYTES [over]",
		"lu -> residual -1":                              `"-1" is no number from 0 to 1073741824`,
		"lu -> digest data":                              `"data" is not header: the action is digest [header]`,
		"lu -> late":                                     "one argument is needed, not 0: the action is late TIME[..TIME]",
		"lu -> duplicate 2":                              `"2" is too much: the action is duplicate`,
		"login -> redirect":                              "one argument is needed, not 0: the action is redirect HOST:PORT[,GROUP] [permanent]",
		"login -> redirect 10.0.0.2":                     `"10.0.0.2" is no address such as 10.0.0.2:3260, [fd00::2]:3260 or array.lab:3260`,
		"login -> redirect :3260":                        `":3260" is no address`,
		"login -> redirect a:0":                          `"a:0" is no address`,
		"login -> redirect a:1,x":                        `"x" is no number from 0 to 65535`,
		"login -> redirect a:1 for ever":                 "one argument is needed, not 3",
		"login session=4 -> reject 0x0203":               `column 7: "session=4": a rule of login has`,
	} {
		_, err := Parse(line)
		require.ErrorIs(t, err, vvol.ErrInvalid, "%q", line)
		require.Contains(t, err.Error(), want, "%q", line)
	}
}

// rules generates the words of lines that Parse has to take. name is what vvol="…" means, ""
// for a line without it.
func rules(t *rapid.T) (words []string, name string) {
	type form struct{ layer, conditions, actions string }
	f := rapid.SampledFrom([]form{
		{"lu", "vvol=a|vvol=?|host=iqn.x|pe=pe0|portal=2|session=8|op=write|op=media|op=0x2a|lba=3-9", "pdl|apd|apd drop|sense 4/3e/1|busy|task-set-full|reservation-conflict|delay 1ms|delay 1ms..2ms|hang|drop-response|corrupt|corrupt 3|torn 512|torn 0 silent|unavailable|no-space"},
		{"path", "host=iqn.x|portal=2|session=8", "down|stall|stall in|stall out|reset|reset 1s|reset 1s..2s|logout|logout 5s|drop-connection|drop-session|delay 1ms|delay 1ms..2ms|rate 10MiB/s|rate 4096B/s"},
		{"login", "host=iqn.x|portal=2", "reject 0x0203|reject 0x0301|redirect a:1|redirect [::1]:3260,2 permanent|hang|delay 1s"},
		{"vasa", "op=bindVirtualVolume|vvol=?|container=\"a\"|host=iqn.x", "hang|drop|drop-session|delay 1ms|fault ResourceInUse"},
		{"lu", "vvol=a|host=iqn.x|pe=pe0|portal=2", "alua standby|alua transitioning|attention 2A/6|reservation-lost|miscompare|late 1s|late 1s..2s|duplicate|short 7|residual 3|residual 0 over|digest|digest header"},
		{"engine", "vvol=?|op=write", "medium-error|no-space|delay 1ms|corrupt"},
	}).Draw(t, "form")
	all := strings.Split(f.conditions+"|after=1|count=2|every=3|p=0.25|seed=9|name=x.1|on=7|from=3s|for=1m|for=1m each=2m|keep", "|")
	words, seen := []string{f.layer}, map[string]bool{}
	for range rapid.IntRange(0, 6).Draw(t, "conditions") {
		c := rapid.SampledFrom(all).Draw(t, "condition")
		key, _, _ := strings.Cut(c, "=")
		if seen[key] {
			continue
		}
		seen[key] = true
		if c == "vvol=?" {
			name = rapid.OneOf(rapid.StringN(1, 30, -1), rapid.StringMatching(`[ a"\\]{1,30}`)).Draw(t, "name")
			words = append(words, "vvol="+strconv.Quote(name))
			continue
		}
		words = append(words, strings.Fields(c)...)
	}
	words = append(words, "->")
	return append(words, strings.Fields(rapid.SampledFrom(strings.Split(f.actions, "|")).Draw(t, "action"))...), name
}

// Whatever stands between words, parsing then printing gives the same line, and that means
// what it means with one space there.
func TestRoundTripOfAny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words, name := rules(t)
		space := rapid.StringMatching(`[ \t]{1,3}`)
		line := rapid.StringMatching(`[ \t]{0,2}`).Draw(t, "before")
		for _, w := range words {
			line += w + space.Draw(t, "space")
		}
		r, err := Parse(line)
		if err != nil || r.String() != line || name != "" && r.vvol != name {
			t.Fatalf("%q became %q with vvol=%q, not %q, %v", line, r, r.vvol, name, err)
		}
		plain, err := Parse(strings.Join(words, " "))
		if err != nil || !reflect.DeepEqual(meaning(r), meaning(plain)) {
			t.Fatalf("%q and %q mean not the same, %v", line, plain, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, line := range []string{`lu vvol="a b" lba=1-2 p=0.5 -> torn 512 silent`, "path portal=1 -> rate 1MiB/s", "path -> stall in", "path -> reset 1s..2s", "login -> reject 0x0203", "vasa op=x -> fault Y", "engine -> delay 1ms..2s",
		"lu name=a on=b from=1s for=2s each=5s -> alua standby", "lu -> attention 2A/06", "lu vvol=a lba=1-2 -> medium-error", "lu -> pdl 4/3E/1",
		"lu  vvol=\"a  b\" \t op=read  ->  delay   1ms ", "vasa -> certificate expired", "vasa -> event-storm 5", "vasa vvol=a container=b host=c -> fault Y"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := Parse(line)
		if err != nil {
			require.ErrorIs(t, err, vvol.ErrInvalid)
			return
		}
		require.Equal(t, line, r.String())
		words, _, err := grammar.Split(line)
		require.NoError(t, err)
		all := make([]string, len(words))
		for i := range words {
			all[i] = words[i].Text
		}
		plain, err := Parse(strings.Join(all, " "))
		require.NoError(t, err)
		require.Equal(t, meaning(r), meaning(plain))
	})
}
