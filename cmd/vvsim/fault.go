package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"vvsim/api"
)

const faultHelp = `A rule is one line: where, when, -> and what. The first rule that matches an event wins.

  lu      vvol=ID|NAME container=ID|NAME host=IQN pe=ID|NAME portal=N session=N op=read|write|media|any|0x2a lba=A-B
          -> pdl [K/ASC/ASCQ] | apd [drop] | sense K/ASC/ASCQ | busy | task-set-full | reservation-conflict | delay TIME[..TIME] | hang
             | drop-response | corrupt [BYTE] | torn BYTES [silent] | unavailable | no-space | attention ASC/ASCQ | medium-error | miscompare | reservation-lost [released]
             | late TIME[..TIME] | duplicate | short BYTES | residual BYTES [over] | digest [header]
             | alua standby|unavailable|transitioning|active-nonoptimized
  path    portal=N host=IQN session=N            -> down | stall [in|out] | reset [TIME[..TIME]] | delay TIME[..TIME] | rate 10MiB/s
             | logout [TIME] | drop-connection | drop-session
  login   portal=N host=IQN                      -> reject 0x0203 | redirect HOST:PORT[,GROUP] [permanent] | hang | delay TIME[..TIME]
  vasa    vvol=ID|NAME container=ID|NAME host=IQN op=bindVirtualVolume
          -> fault NAME | hang | delay TIME[..TIME] | drop | drop-session | lose-events | event-storm N
  vasa                                           -> down | certificate expired|wrong-name|untrusted
  engine  vvol=ID|NAME container=ID|NAME op=read|write|flush lba=A-B -> medium-error | no-space | delay TIME[..TIME] | corrupt

Every rule takes after=N count=N every=N p=0.01 seed=N, times: from=1m for=30s each=2m, name=NAME, on=NAME|ID (begins when
that rule breaks something), and keep (which survives a restart). A value with spaces is quoted: vvol="my disk". What each
does, and what hosts see: docs/faults.md. Failures that have a name: vvsim fault preset.`

func newFault() *cobra.Command {
	add := outputFlag(&cobra.Command{Use: "add 'RULE'", Short: "Add a rule, and print its id", Long: "Add a rule, behind all others, and print its id.\n\n" + faultHelp,
		Example: "  vvsim fault add 'lu vvol=disk1 -> pdl'\n  vvsim fault add 'lu host=iqn.1998-01.com.vmware:esx1-1a2b3c4d portal=1 for=141s -> apd'",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return change(c, http.MethodPost, "/faults", map[string]any{"rule": args[0]}, func(f api.Fault) string { return f.ID })
		}})
	list := outputFlag(&cobra.Command{Use: "list", Short: "List rules in the order in which they are tried", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return table(c, "/faults", column[api.Fault]{"ID", func(x api.Fault) any { return x.ID }},
				column[api.Fault]{"HITS", func(x api.Fault) any { return x.Hits }},
				column[api.Fault]{"STATE", func(x api.Fault) any { return x.Phase }},
				column[api.Fault]{"RULE", func(x api.Fault) any { return x.Rule }})
		}})
	showIt := outputFlag(&cobra.Command{Use: "show ID|NAME", Short: "Show a rule", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return show(c, "/faults/"+seg(args[0])) }})
	clearAll := &cobra.Command{Use: "clear", Short: "Remove all rules", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := client().Do(c.Context(), http.MethodDelete, apiPath+"/faults", nil)
			return err
		}}
	n := noun("fault", "Failures on demand", add, newPreset(), list, showIt, deleteCommand("remove ID|NAME...", "Remove rules, and let go of what they hold", "/faults/"), clearAll)
	n.Long = "Failures on demand.\n\n" + faultHelp
	return n
}
