package preset

import (
	"fmt"
	"strings"
)

const preamble = "# Presets\n\n" +
	"<!-- Written by `make docs` from the table in fault/preset; changes belong there. -->\n\n" +
	"`vvsim fault preset NAME`, or `POST /api/v1/fault-presets/NAME`, adds the rules of a failure that has a name, all of them or none, and\n" +
	"tells them, what an ESXi host is expected to log and do, and how to heal it; `vvsim fault preset` lists all, `--dry-run` adds nothing.\n" +
	"Parameters in braces are options: `{vvol}` is `--vvol`, and without it the rule is about all; `{portal|1}` is portal 1 unless another is\n" +
	"given. Where there are several ways, the first is taken unless `--way` names another. The words in brackets tell how certain a\n" +
	"statement is ([sense.md](sense.md)).\n"

// Document is the table in Markdown.
func Document() string {
	var b strings.Builder
	b.WriteString(preamble)
	for _, p := range Table() {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n", p.Name, upper(p.Title))
		if len(p.Needs) > 0 {
			fmt.Fprintf(&b, "Needs `--%s`.\n\n", p.Needs[0])
		}
		b.WriteString("```\n")
		for _, w := range p.Ways {
			if w.Name != "" {
				fmt.Fprintf(&b, "--way %s\n", w.Name)
			}
			for _, r := range w.Rules {
				fmt.Fprintf(&b, "  %s\n", r)
			}
		}
		b.WriteString("```\n\n")
		for _, s := range p.Expect {
			fmt.Fprintf(&b, "* %v\n", s)
		}
		for _, w := range p.Ways {
			for _, s := range w.Expect {
				fmt.Fprintf(&b, "* `--way %s`: %v\n", w.Name, s)
			}
		}
		fmt.Fprintf(&b, "* Healed: %s\n", p.Heals)
	}
	return b.String()
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
