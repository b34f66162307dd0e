package unrest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/fault"
	"vvsim/vasa"
)

var names = Names{VVols: []string{"disk1", "disk2"}, Containers: []string{"default"}, Hosts: []string{"iqn.a"}, Redirect: "127.0.0.1:3261", Keep: true}

// TestAny shows that every action of every layer is drawn, with all of its arguments, every
// condition of the grammar, and no rule that an array would not take.
func TestAny(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	drawn, conditions := map[string]map[string]int{}, map[string]int{}
	for range 40_000 {
		rule := Any(t, r, names, "7")
		_, err := fault.Parse(rule)
		require.NoError(t, err, rule)
		before, after, _ := strings.Cut(rule, " -> ")
		words, action := strings.Fields(before), strings.Fields(after)
		op, name := "", ""
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, "=")
			conditions[key]++
			if key == "op" {
				op = value
			}
		}
		if drawn[words[0]] == nil {
			drawn[words[0]] = map[string]int{}
		}
		drawn[words[0]][action[0]]++
		drawn[words[0]][after]++
		if words[0] == "vasa" {
			if action[0] == "fault" {
				name = action[1]
			}
			require.NoError(t, vasa.Named(op, name), rule)
		}
	}
	require.ElementsMatch(t, Layers(t), slices.Collect(maps.Keys(drawn)))
	for _, layer := range Layers(t) {
		for _, action := range Actions(t, layer) {
			require.Greater(t, drawn[layer][action], 20, "%s -> %s", layer, action)
			if layer == "engine" && action == "corrupt" {
				continue
			}
			for _, args := range arguments[action] {
				require.NotZero(t, drawn[layer][strings.TrimSpace(action+" "+args)], "%s -> %s %s", layer, action, args)
			}
		}
	}
	keys := []string{"vvol", "container", "host", "pe", "portal", "session", "op", "lba", "after", "count", "every", "p", "seed", "name", "on", "from", "for", "each", "keep"}
	require.ElementsMatch(t, keys, slices.Collect(maps.Keys(conditions)))
	for _, key := range keys {
		rule := "lu " + key + "=1 -> busy"
		_, err := fault.Parse(strings.Replace(rule, "keep=1", "keep", 1))
		if err != nil {
			require.NotContains(t, err.Error(), "a rule of lu has", "the grammar knows %s", key)
		}
	}
	_, err := fault.Parse("lu ? -> busy")
	require.Equal(t, len(keys), strings.Count(err.Error(), "=")+1, "the grammar has other conditions: %v", err)
}

// TestArguments: there are none for what is no action.
func TestArguments(t *testing.T) {
	var all []string
	for _, layer := range Layers(t) {
		all = append(all, Actions(t, layer)...)
	}
	require.Subset(t, all, slices.Collect(maps.Keys(arguments)))
}
