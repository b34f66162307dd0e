package preset

import (
	"slices"

	"vvsim/fault/codes"
)

const (
	standard   = codes.Standard
	documented = codes.Documented
	vendor     = codes.Vendor
	setting    = codes.Setting
	memory     = codes.Memory
	inferred   = codes.Inferred
)

// Table returns all presets. The caller may change it.
func Table() []Preset {
	return slices.Concat(losses(), silences(), provider(), space(), disks(), roads())
}

// lossLine is what a host logs of a loss.
var lossLine = does("vmkernel.log: H:0x0 D:0x2 P:0x0 Valid sense data: 0x5 0x25 0x0, then \"Device is permanently unavailable\".", documented)

// lossWays are the senses of a permanent loss, each a way.
func lossWays(where string) []Way {
	ways := []Way{{Name: "05/25/00", Rules: []string{"lu " + where + "-> pdl"}, Expect: []Statement{lossLine}}}
	for _, code := range []string{"04/4C/00", "04/3E/01", "04/3E/03"} {
		ways = append(ways, Way{Name: code, Rules: []string{"lu " + where + "-> pdl " + code},
			Expect: []Statement{does("The same with "+code+", which is listed as a loss too.", memory)}})
	}
	return append(ways, Way{Name: "05/68/01", Rules: []string{"lu " + where + "-> pdl 05/68/01"},
		Expect: []Statement{does("Whether 05/68/01 counts as a loss is not known.", inferred)}})
}

func losses() []Preset {
	gone := []Statement{
		does("All paths are dead, the device is in state \"Lost Communication\", its I/O fails at once; nothing is sent to it any more.", documented),
		does("Event esx.problem.scsi.device.state.permanentloss.", memory),
		does("When nobody has it open any more, the device is removed (`Disk.AutoremoveOnPDL` 1), about 10 s later.", documented, setting),
		does("vSphere HA ends its virtual machines and starts them elsewhere, where it is told to.", documented)}
	const back = "A device that returns is treated as new, once everything that had it open was closed; a rescan finds it."
	return []Preset{
		{Name: "pdl-vvol", Title: "one VVol is gone for good on every path", Needs: []Parameter{VVol},
			Ways:   lossWays("{vvol} {host} "),
			Expect: append(slices.Clone(gone), does("The protocol endpoint and sister volumes stay healthy.", inferred)), Heals: back},
		{Name: "pdl-pe", Title: "a protocol endpoint is gone for good, with all volumes behind it",
			Ways:   lossWays("{pe|pe0} {host} "),
			Expect: append(slices.Clone(gone), does("All VVols that are bound through it lose their data path; the provider may still work.", inferred)), Heals: back},
		{Name: "pdl-host", Title: "everything is gone for good, for one host", Needs: []Parameter{Host},
			Ways: append(lossWays("{host} "),
				Way{Name: "login", Rules: []string{"login {host} -> reject 0x0203", "path {host} for=1s -> reset"}, Expect: []Statement{
					does("Login is refused with 0203h on all paths: counts as a loss where a target has one LUN; the code that ESXi takes for it is not public.", documented, inferred)}}),
			Expect: append(slices.Clone(gone), does("Other hosts know nothing of it.", inferred)), Heals: back},
		{Name: "pdl-one-path", Title: "one path says that the device is gone for good",
			Ways: lossWays("{vvol} {host} {portal|1} "),
			Expect: []Statement{does("The path is dead, I/O moves to the others; a loss has to come on all paths to be one.", documented, inferred),
				does("ESXi 6.0 before U2 does not fail over, and the device is dead until a reboot.", documented)},
			Heals: "The path is found again by its next probe, each `Disk.PathEvalTime` (300 s), or by a rescan."},
	}
}

// apd is what hosts do when all paths are down; two ways look like it to a virtual machine, and are
// none to its host.
func apd() []Statement {
	return []Statement{
		does("In all ways but unavailable and media: event esx.problem.storage.apd.start; after `Misc.APDTimeout`, 140 s, esx.problem.storage.apd.timeout.", memory),
		does("Until then everything is retried. Then I/O that is not of virtual machines fails at once; theirs is retried without end, unless `Scsi.FailVMIOonAPD` is 1 (default 0).", documented, setting),
		does("vSphere HA may end virtual machines 180 s after the time-out.", documented),
	}
}

// ways of a silence, by the rules' conditions in front of portal and host.
func ways(where string) []Way {
	return []Way{
		{Name: "down", Rules: []string{"path " + where + "-> down"}, Expect: []Statement{
			does("H:0x1, sessions are offline and can't log in again; noticed after the 10 s of RecoveryTimeout and the attempts to log in.", inferred)}},
		{Name: "stall", Rules: []string{"path " + where + "-> stall"}, Expect: []Statement{
			does("Nothing is answered, pings neither; noticed after up to 15 s (NoopInterval), 10 s (NoopTimeout) and 10 s (RecoveryTimeout).", inferred)}},
		{Name: "silent", Rules: []string{"lu " + where + "-> apd"}, Expect: []Statement{
			does("Sessions live, commands do not: H:0x5; noticed after the time-outs of a command and of TEST UNIT READY.", inferred)}},
		{Name: "forgotten", Rules: []string{"lu " + where + "-> apd drop"}, Expect: []Statement{
			does("As --way silent; what was silent is never done, even when it heals.", inferred)}},
		{Name: "unavailable", Rules: []string{"lu " + where + "-> unavailable"}, Expect: []Statement{
			does("02/04/0C, and REPORT TARGET PORT GROUPS says unavailable: I/O waits at once, but it is no APD unless `Scsi.ExtendAPDCondition` is 1 (default 0).", setting, inferred)}},
		{Name: "login", Rules: []string{"login " + where + "-> reject 0x0301", "path " + where + "for=1s -> reset"}, Expect: []Statement{
			does("Login is refused with 0301h, service unavailable, again and again; noticed as with --way down.", inferred)}},
	}
}

// media is the way in which reads and writes alone are silent.
func media(where string) Way {
	return Way{Name: "media", Rules: []string{"lu " + where + "op=media -> apd"}, Expect: []Statement{
		does("Reads and writes are aborted when their time is over, again and again, and \"lost access to volume\" is logged; TEST UNIT READY is answered, so that paths stay up: no APD, however long it lasts.", inferred)}}
}

func silences() []Preset {
	const back = "The host finds its paths again; event esx.clear.storage.apd.exit, and everything goes on."
	return []Preset{
		{Name: "apd", Title: "all paths of all hosts are down", Ways: append(ways(""), media("")), Expect: apd(), Heals: back},
		{Name: "apd-host", Title: "all paths of one host are down", Needs: []Parameter{Host}, Ways: append(ways("{host} "), media("{host} ")),
			Expect: append(apd(), does("Other hosts know nothing of it.", inferred)), Heals: back},
		{Name: "apd-one-path", Title: "one path is down", Ways: ways("{portal|1} {host} "), Expect: []Statement{
			does("The path is dead after a failed command and a failed TEST UNIT READY; I/O moves to the others. No APD.", documented),
			does("Event esx.problem.storage.redundancy.degraded, or .lost when one path is left.", memory)},
			Heals: "The path is found again by its next probe, each `Disk.PathEvalTime` (300 s), or at once when its session comes back."},
		{Name: "apd-flap", Title: "all paths go down for a minute, again and again", Ways: []Way{{Rules: []string{"path {portal} {host} for=1m each=3m -> down"}}},
			Expect: []Statement{does("APD starts and exits each three minutes, before its time-out: everything is retried, nothing fails.", documented, inferred)}, Heals: back},
	}
}

func provider() []Preset {
	down := []Statement{
		does("Virtual machines that run keep their I/O; no power-on, bind, snapshot, clone.", vendor),
		does("Hosts and vCenter poll every 10 s, and notice within that: the provider is offline.", vendor, documented)}
	return []Preset{
		{Name: "vp-hang", Title: "the provider takes requests and never answers", Ways: []Way{{Rules: []string{"vasa -> hang"}}}, Expect: down,
			Heals: "Requests that wait are answered; clients whose time is over ask again."},
		{Name: "vp-down", Title: "nothing answers at the provider's address", Ways: []Way{{Rules: []string{"vasa -> down"}}}, Expect: down,
			Heals: "Clients connect again with their next poll; sessions and bindings are as they were."},
		{Name: "vp-cert-expired", Title: "the provider's certificate has expired",
			Ways: []Way{
				{Name: "expired", Rules: []string{"vasa -> certificate expired"}, Expect: []Statement{does("vCenter shows the certificate as `expired`.", documented)}},
				{Name: "wrong-name", Rules: []string{"vasa -> certificate wrong-name"}},
				{Name: "untrusted", Rules: []string{"vasa -> certificate untrusted"}}},
			Expect: append(slices.Clone(down), does("Hosts log \"VasaSession::GetEndPoint: failed to get endpoint, err=SSL Exception\"; vCenter shows the provider as `disconnected`, and tries no more until it is told to reconnect.", documented)),
			Heals:  "Hosts connect again by themselves; in vCenter the provider may have to be reconnected."},
	}
}

func space() []Preset {
	full := []Statement{
		does("07/27/07 on what needs space, P:0x8: a virtual machine that needs space is paused with a question, Retry or Cancel; hosts may hang on VMFS metadata.", documented)}
	refused := does("Creating, cloning, snapshots and growing fail with OutOfResource.", standard)
	return []Preset{
		{Name: "array-full", Title: "the array has no space left", Ways: []Way{{Rules: []string{"engine op=write -> no-space", "vasa -> fault OutOfResource"}}},
			Expect: append(slices.Clone(full), refused), Heals: "Writes go on; paused virtual machines go on with Retry."},
		{Name: "container-full", Title: "a container has no space left, for its volumes or one of them, nor the provider for new ones",
			Ways:   []Way{{Rules: []string{"vasa {container|default} -> fault OutOfResource", "lu {container|default} {vvol} -> no-space"}}},
			Expect: append(slices.Clone(full), refused, does("Other containers know nothing of it.", inferred)), Heals: "Writes go on; paused virtual machines go on with Retry."},
		{Name: "threshold", Title: "a thin pool is nearly full", Ways: []Way{{Rules: []string{"lu {vvol} {host} -> attention 38/07"}}},
			Expect: []Statement{does("06/38/07 once for each path, P:0x7: a warning alarm of the datastore; I/O goes on.", documented, vendor)},
			Heals:  "Nothing has to heal; it is told once."},
	}
}

func disks() []Preset {
	return []Preset{
		{Name: "slow-disk", Title: "the disk takes up to a second", Ways: []Way{
			{Name: "slow", Rules: []string{"engine {vvol} -> delay 100ms..1s"}},
			{Name: "stuck", Rules: []string{"lu {vvol} {host} op=0x89 -> delay 8s..16s"}, Expect: []Statement{
				does("COMPARE AND WRITE of 8 s and more: heartbeats time out, a later retry meets a true miscompare, \"lost access to datastore\".", vendor)}}},
			Expect: []Statement{does("I/O takes longer; VMFS tells of \"lost access to volume\" when heartbeats do not succeed for 16 s.", memory)}, Heals: "At once; what waits is done."},
		{Name: "bit-rot", Title: "one in a hundred reads returns a flipped bit in each block", Ways: []Way{{Rules: []string{"engine {vvol} op=read p=0.01 -> corrupt"}}},
			Expect: []Statement{does("The host notices nothing: status is GOOD, digests agree. What reads it may: VMFS, the guest's file system, a database.", inferred)},
			Heals:  "Reads are right again; the medium always was. What was written from bad reads stays wrong."},
		{Name: "ats-miscompare", Title: "COMPARE AND WRITE fails though nobody has changed the block", Ways: []Way{{Rules: []string{"lu {vvol} {host} op=0x89 -> miscompare"}}},
			Expect: []Statement{does("0E/1D/00, P:0x5: \"ATS Miscompare detected between test and set HB images\"; the lock or the heartbeat is not got.", standard, documented)},
			Heals:  "The next heartbeat succeeds."},
	}
}

func roads() []Preset {
	return []Preset{
		{Name: "slow-path", Title: "one path is slow", Ways: []Way{
			{Name: "late", Rules: []string{"path {portal|1} {host} -> delay 50ms..200ms"}},
			{Name: "narrow", Rules: []string{"path {portal|1} {host} -> rate 1MiB/s"}}},
			Expect: []Statement{does("I/O on that path takes longer.", inferred)}, Heals: "At once."},
		{Name: "lossy-path", Title: "one path loses connections now and then, and one answer in fifty",
			Ways: []Way{{Rules: []string{"path {portal|1} {host} -> reset 10s..1m", "lu {portal|1} {host} p=0.02 -> drop-response"}}},
			Expect: []Statement{does("H:0x1 when a session is lost, H:0x5 when an answer is; commands go to other paths.", inferred),
				does("A path that fails more than 20 % of the time is avoided (`Misc.NmpManageDegradedPaths`).", setting, inferred)}, Heals: "Sessions come back with the next login."},
		{Name: "reboot-controller", Title: "the controller of one portal reboots: a minute down, then ten seconds until its ports are ready",
			Ways: []Way{{Rules: []string{"path {portal|1} for=1m -> down", "lu {portal|1} from=1m for=10s -> alua transitioning"}}},
			Expect: []Statement{does("Paths of that controller are dead, I/O moves to the others.", documented),
				does("After the login 06/29/00, and 02/04/0A while the group is in transition; 06/2A/06 tells of each change, and REPORT TARGET PORT GROUPS is read again.", documented, standard)},
			Heals: "By itself after 70 s."},
		{Name: "split-path", Title: "one path is cut in one direction: requests arrive, answers do not",
			Ways: []Way{
				{Name: "answers", Rules: []string{"path {portal|1} {host} -> stall out"}},
				{Name: "requests", Rules: []string{"path {portal|1} {host} -> stall in"}}},
			Expect: []Statement{does("Writes are done and never answered, and are sent again on another path; pings time out after up to 25 s, and the session is given up.", inferred)},
			Heals:  "A session that still lives gets what was held; others log in again."},
	}
}
