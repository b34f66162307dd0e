package storetest

import (
	"testing"

	"vvsim/vvol/store"
)

// Opener makes an engine without volumes for one test.
type Opener func(t *testing.T) store.Engine

// DurableOpener opens the engine that lives in dir, making it when dir is empty.
type DurableOpener func(t *testing.T, dir string) store.Engine

// sentence is one subtest: a statement of the contract and what shows it.
type sentence struct {
	says string
	show func(*fixture)
}

// chapter is a group of sentences that share one engine.
type chapter struct {
	name      string
	sentences []sentence
}

// Run takes engines made by open through the whole contract.
func Run(t *testing.T, open func(t *testing.T) store.Engine) {
	chapters := []chapter{
		{"limits", limits()}, {"volumes", volumes()}, {"resize", resizing()}, {"io", transfers()},
		{"errors", refusals()}, {"compare and write", comparing()}, {"unmap", unmapping()},
		{"snapshots", snapshots()}, {"clones", clones()}, {"revert", reverting()}, {"ranges", ranging()},
		{"copy", copying()}, {"space", spaces()}, {"meta", metas()}, {"concurrency", concurrent()},
	}
	for _, c := range chapters {
		t.Run(c.name, func(t *testing.T) { runChapter(t, open, c) })
	}
	t.Run("meta alone", func(t *testing.T) { runEach(t, open, metaAlone()) })
	t.Run("close", func(t *testing.T) { runEach(t, open, closing()) })
	t.Run("model", func(t *testing.T) {
		runModel(t, func(t *testing.T) (store.Engine, func() store.Engine) { return open(t), nil })
	})
}

// runChapter shows sentences on one engine.
func runChapter(t *testing.T, open Opener, c chapter) {
	e := open(t)
	t.Cleanup(func() { closeEngine(t, e) })
	for _, s := range c.sentences {
		t.Run(s.says, func(t *testing.T) { s.show(newFixture(t, e)) })
	}
}

// runEach shows sentences on an engine each.
func runEach(t *testing.T, open Opener, all []sentence) {
	for _, s := range all {
		t.Run(s.says, func(t *testing.T) {
			e := open(t)
			t.Cleanup(func() { closeEngine(t, e) })
			s.show(newFixture(t, e))
		})
	}
}

func closeEngine(t *testing.T, e store.Engine) {
	if err := e.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
