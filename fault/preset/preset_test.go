package preset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/fault"
)

// docs/presets.md is the table as it is now; VVSIM_WRITE=1 writes it.
func TestDocument(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "presets.md")
	if os.Getenv("VVSIM_WRITE") != "" {
		require.NoError(t, os.WriteFile(page, []byte(Document()), 0o644))
	}
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, Document(), string(b), "run make docs")
}

// The presets that were promised are there, and their rules are rules, with all parameters
// and with those alone that they need.
func TestPresets(t *testing.T) {
	var names []string
	all := map[Parameter]string{VVol: `my "disk"`, Host: "iqn.1998-01.com.vmware:esx1", Portal: "2", PE: "pe1"}
	for _, p := range Table() {
		names = append(names, p.Name)
		require.NotEmpty(t, p.Expect, p.Name)
		require.True(t, strings.HasSuffix(p.Heals, "."), p.Name)
		require.False(t, strings.HasSuffix(p.Title, "."), p.Name)
		takes := p.Takes()
		for _, w := range p.Ways {
			require.Equal(t, len(p.Ways) > 1, w.Name != "", p.Name)
			for _, s := range append(p.Expect, w.Expect...) {
				require.NotEmpty(t, s.Certainty, s.Text)
				require.True(t, strings.HasSuffix(s.Text, "."), s.Text)
			}
			given, least := map[Parameter]string{}, map[Parameter]string{}
			for _, name := range takes {
				if w.takes(name) {
					given[name] = all[name]
				}
			}
			for _, name := range p.Needs {
				least[name] = all[name]
				_, err := p.Fill(&w, map[Parameter]string{})
				require.ErrorIs(t, err, ErrParameters)
				require.ErrorContains(t, err, "needs "+string(name))
			}
			for _, values := range []map[Parameter]string{given, least} {
				rules, err := p.Fill(&w, values)
				require.NoError(t, err, p.Name)
				require.Len(t, rules, len(w.Rules))
				for _, rule := range rules {
					r, err := fault.Parse(rule)
					require.NoError(t, err, "%s: %s", p.Name, rule)
					require.Equal(t, rule, r.String())
					require.NotContains(t, rule, "{")
				}
			}
			for _, name := range parameters {
				if !w.takes(name) {
					_, err := p.Fill(&w, map[Parameter]string{name: "x"})
					require.ErrorIs(t, err, ErrParameters, p.Name)
				}
			}
		}
		found, ok := Find(p.Name)
		require.True(t, ok)
		require.Equal(t, p, found)
	}
	require.ElementsMatch(t, strings.Fields(`pdl-vvol pdl-pe pdl-host pdl-one-path apd apd-host apd-one-path apd-flap vp-hang vp-down vp-cert-expired
		array-full container-full threshold slow-disk slow-path lossy-path bit-rot ats-miscompare reboot-controller split-path`), names)
	_, ok := Find("apocalypse")
	require.False(t, ok)
}

func TestFill(t *testing.T) {
	p, ok := Find("apd-one-path")
	require.True(t, ok)
	for way, want := range map[string]string{"": "path portal=1 -> down", "silent": "lu portal=1 -> apd"} {
		w, err := p.Way(way)
		require.NoError(t, err)
		rules, err := p.Fill(w, nil)
		require.NoError(t, err)
		require.Equal(t, []string{want}, rules)
	}
	_, err := p.Way("magic")
	require.ErrorContains(t, err, `"magic" is no way of apd-one-path, but down, stall, silent, forgotten, unavailable`)
	p, _ = Find("vp-hang")
	_, err = p.Way("down")
	require.ErrorContains(t, err, "vp-hang has one way only")
	p, _ = Find("pdl-vvol")
	w, err := p.Way("")
	require.NoError(t, err)
	rules, err := p.Fill(w, map[Parameter]string{VVol: "my disk", Host: "iqn.x"})
	require.NoError(t, err)
	require.Equal(t, []string{`lu vvol="my disk" host=iqn.x -> pdl`}, rules)
	_, err = p.Fill(w, map[Parameter]string{VVol: "a", Portal: "1"})
	require.ErrorContains(t, err, "pdl-vvol takes no portal with way 05/25/00, but vvol and host")
	p, _ = Find("vp-hang")
	_, err = p.Fill(&p.Ways[0], map[Parameter]string{Host: "x"})
	require.ErrorContains(t, err, "vp-hang takes no host, nor anything else")
}
