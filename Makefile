# make help lists the targets. Everything runs with Go and a POSIX shell; what the
# tests need besides comes from Debian packages, installed when missing.

GO        ?= go
BIN       := $(CURDIR)/bin
PEER      := test/peer/gotgt
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
BUILD     := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
# Flags of vvsim serve for make run, e.g. RUNFLAGS='--data :memory:'.
RUNFLAGS  ?=
# Packages under test, and limits: one test binary may take TESTTIME.
PKG       ?= ./...
TESTTIME  ?= 20m
FUZZTIME  ?= 30s
# Rounds of the engine's crash tests in make fuzz; make test does 10 and 4.
KILLS     ?= 200
CUTS      ?= 50
# Damages of its directory in make fuzz; make test does 20.
DAMAGES   ?= 300
# Steps of the provider's model test in make fuzz; make test does 100.
STEPS     ?= 5000
# Seeds of the simulation in make fuzz; make test plays 20.
SEEDS     ?= 1000
# Length of each soak, and the seed that an earlier one printed.
SOAK      ?= 1h
SOAK_SEED ?=
BENCH     ?= .
BENCHTIME ?= 1s
# Of make compare: rounds of each load, and how long one takes.
ROUNDS    ?= 5
COMPARE   ?= 1s
# Of make profile: the array's API as the command line has it, and how long it is looked at.
VVSIM_API ?= http://127.0.0.1:8474
SECONDS   ?= 10

# Debian keeps mke2fs and its kin where users do not look.
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help build run docs check test unit lint tidy vulns bench compare scale fuzz soak soakrace soakprogram conformance e2e peer deps profile cover release clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- build and run

build: ## bin/vvsim, one static binary
	@mkdir -p $(BIN)
	$(BUILD) -o $(BIN)/vvsim ./cmd/vvsim

# Ctrl-C goes to every process in the terminal's foreground, make too, which would
# then end by the signal. So on a terminal vvsim is the foreground by itself, and its
# exit 0 is make's; should make be killed, vvsim gets SIGTERM.
run: build ## build and start an array here; Ctrl-C stops it (RUNFLAGS=...)
	@if [ -t 0 ] && command -v setpriv >/dev/null; then set -m; setpriv --pdeathsig TERM $(BIN)/vvsim serve $(RUNFLAGS); \
	else exec $(BIN)/vvsim serve $(RUNFLAGS); fi

release: ## static binaries for amd64 and arm64 with checksums, in bin/release
	@mkdir -p $(BIN)/release
	@set -eu; for arch in amd64 arm64; do \
		echo "vvsim-$(VERSION)-linux-$$arch"; \
		GOOS=linux GOARCH=$$arch $(BUILD) -o "$(BIN)/release/vvsim-$(VERSION)-linux-$$arch" ./cmd/vvsim; \
	done; cd $(BIN)/release && sha256sum vvsim-$(VERSION)-linux-* >SHA256SUMS

docs: ## docs/sense.md and docs/presets.md, from the tables that vvsim explain and vvsim fault preset read too
	VVSIM_WRITE=1 $(GO) test -count=1 -run '^TestDocument$$' ./fault/codes ./fault/preset

clean: ## remove bin/ (the array's data stays)
	rm -rf $(BIN)

# ---- test

test: check unit conformance e2e peer ## everything: what .ci/run calls

check: lint vulns ## formatting, vet, house rules, linters, known vulnerabilities

lint: $(BIN)/tools/golangci-lint
	@bad=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go' 2>/dev/null || find . -name '*.go' -not -path './bin/*')); \
	if [ -n "$$bad" ]; then echo "gofmt: not formatted:"; echo "$$bad"; exit 1; fi
	@$(GO) mod tidy -diff || { echo "go.mod or go.sum is behind: run make tidy"; exit 1; }
	$(GO) vet ./...
	$(GO) test -count=1 ./internal/lint
	$(BIN)/tools/golangci-lint run ./...
	cd $(PEER) && $(BIN)/tools/golangci-lint run --config $(CURDIR)/.golangci.yml ./...

tidy: ## go.mod and go.sum of the three modules
	@set -eu; for d in . $(PEER) tools; do echo "$$d: go mod tidy"; (cd $$d && $(GO) mod tidy); done

# The database of vulnerabilities comes from the network. Where it cannot be
# reached that is said, and not counted against the tree; findings are.
VULNDB ?= https://vuln.go.dev
vulns: $(BIN)/tools/govulncheck
	@set -u; out=$$($(BIN)/tools/govulncheck -db $(VULNDB) ./... 2>&1); rc=$$?; printf '%s\n' "$$out"; \
	if [ $$rc -eq 0 ] || [ $$rc -eq 3 ]; then exit $$rc; fi; \
	if printf '%s\n' "$$out" | grep -q '^govulncheck: fetching vulnerabilities:'; then \
		echo "govulncheck: the vulnerability database $(VULNDB) cannot be reached; NOT CHECKED for known vulnerabilities"; exit 0; \
	fi; exit $$rc

# Tools are pinned in a module of their own, so that go.mod holds what vvsim needs.
$(BIN)/tools/%: tools/go.mod tools/go.sum
	@mkdir -p $(BIN)/tools
	cd tools && CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w' -o $@ $$($(GO) list tool | grep '/$*$$')

unit: deps ## all Go tests with the race detector (PKG=./vvol/...)
	CGO_ENABLED=1 $(GO) test -race -timeout $(TESTTIME) $(PKG)

conformance: build deps ## libiscsi's tests against bin/vvsim, before faults and after, compared with test/conformance/expectations.txt
	VVSIM_BIN=$(BIN)/vvsim $(GO) test -count=1 -timeout 20m -v ./test/conformance

e2e: build deps ## a file system through qemu-img, snapshot, clone, kill -9
	VVSIM_BIN=$(BIN)/vvsim $(GO) test -count=1 -timeout $(TESTTIME) -v ./test/e2e

# A module of its own, so that gotgt stays out of go.mod; "make tidy" after a change there.
peer: build ## what gotgt does with our LUNs, and how fast, beside vvsim on one volume (bin/gotgt-peer)
	cd $(PEER) && $(GO) vet . && CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o $(BIN)/gotgt-peer . && \
		VVSIM_BIN=$(BIN)/vvsim $(GO) test -count=1 -timeout $(TESTTIME)

bench: ## benchmarks (BENCH=regexp PKG=./scsi/... BENCHTIME=1s)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) $(PKG)

scale: build ## start and memory of the program with 4 GiB of data and with 20,000 bound volumes; takes minutes and 10 GB
	VVSIM_BIN=$(BIN)/vvsim $(GO) test -run '^$$' -bench Scale -benchtime 1x -timeout $(TESTTIME) ./test/e2e

# Installs tgtd, whose package starts one on port 3260.
compare: DEPS := tgtd:tgt
compare: build deps ## the program beside tgtd, as root: ROUNDS=5 of COMPARE=1s each for every load (BENCH=RandomRead)
	VVSIM_BIN=$(BIN)/vvsim VVSIM_COMPARE_FOR=$(COMPARE) $(GO) test -run '^$$' -bench 'AgainstTgtd/($(BENCH))' -benchtime $(ROUNDS)x -timeout 0 ./test/e2e

fuzz: ## every fuzz target for FUZZTIME=30s each (PKG=./scsi/...), then KILLS=200 kills, CUTS=50 power cuts and DAMAGES=300 damages of the engine, STEPS=5000 steps of the provider, all ways to spoil its requests, and SEEDS=1000 seeds of the whole array
	@set -eu; for p in $$($(GO) list $(PKG)); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "== $$p $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; \
		done; \
	done
	VVSIM_KILLS=$(KILLS) VVSIM_POWER_CUTS=$(CUTS) VVSIM_DAMAGES=$(DAMAGES) $(GO) test -count=1 -timeout 30m -run '^(TestKill|TestPowerCut|TestDamageAnywhere|TestDamageUnderway)$$' ./vvol/store/badger
	VVSIM_ARGUMENTS=all $(GO) test -count=1 -timeout 30m -run '^TestEveryArgument$$' ./vasa
	VVSIM_SIM_SEEDS=$(SEEDS) $(GO) test -count=1 -timeout 60m -run '^TestSeeds$$' ./test/sim
	VVSIM_MODEL_STEPS=$(STEPS) $(GO) test -count=1 -timeout 30m -v -run '^TestProviderModel$$' ./test/scenario

# No -timeout: each command of a soak has its own limit. SOAK_DIR=DIR keeps the data in DIR.
soak: soakrace soakprogram ## everything at once for SOAK=1h each, every byte verified, memory and space bounded (SOAK_SEED=n)

soakrace: ## the soak of small volumes with the race detector
	SOAK=$(SOAK) SOAK_SEED=$(SOAK_SEED) CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 0 -v -run '^TestInProcess$$' ./test/soak

soakprogram: build ## the soak of bin/vvsim with 4 GiB
	SOAK=$(SOAK) SOAK_SEED=$(SOAK_SEED) VVSIM_BIN=$(BIN)/vvsim $(GO) test -count=1 -timeout 0 -v -run '^TestProgram$$' ./test/soak

# With PKG of benchmarks, else of a running array alone, while something is put on it,
# such as `vvsim io bench`.
profile: ## CPU and memory profile, in bin/profile: of the array at VVSIM_API for SECONDS=10, or of benchmarks (PKG=./scsi/iscsi BENCH=Read4K)
	@mkdir -p $(BIN)/profile
ifeq ($(PKG),./...)
	PPROF_TMPDIR=$(BIN)/profile $(GO) tool pprof -proto -seconds $(SECONDS) -output $(BIN)/profile/cpu.prof $(VVSIM_API)/debug/pprof/profile
	PPROF_TMPDIR=$(BIN)/profile $(GO) tool pprof -proto -output $(BIN)/profile/mem.prof $(VVSIM_API)/debug/pprof/heap
	$(GO) tool pprof -top -nodecount=30 $(BIN)/profile/cpu.prof
else
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -o $(BIN)/profile/test \
		-cpuprofile $(BIN)/profile/cpu.prof -memprofile $(BIN)/profile/mem.prof $(PKG)
	$(GO) tool pprof -top -nodecount=30 $(BIN)/profile/test $(BIN)/profile/cpu.prof
endif

cover: ## coverage per function, in bin/cover.out and bin/cover.html
	@mkdir -p $(BIN)
	$(GO) test -coverprofile $(BIN)/cover.out -coverpkg ./... $(PKG)
	$(GO) tool cover -html $(BIN)/cover.out -o $(BIN)/cover.html
	$(GO) tool cover -func $(BIN)/cover.out | tail -1

# ---- what the tests need besides Go: program → Debian package

DEPS := iscsi-test-cu:libiscsi-bin qemu-img:qemu-utils mke2fs:e2fsprogs debugfs:e2fsprogs cc:gcc
deps:
	@set -eu; want=; \
	for d in $(DEPS); do command -v $${d%%:*} >/dev/null || want="$$want $${d#*:}"; done; \
	command -v cc >/dev/null && echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1 || want="$$want libc6-dev"; \
	ls /usr/lib/*/qemu/block-iscsi.so /usr/lib/qemu/block-iscsi.so 2>/dev/null | grep -q . || want="$$want qemu-block-extra"; \
	[ -n "$$want" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then echo "make test needs what Debian has in:$$want; no apt-get here, please install it"; exit 1; fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo=sudo; \
	else echo "make test needs the Debian packages:$$want; run: sudo apt-get install$$want"; exit 1; fi; \
	echo "installing$$want"; export DEBIAN_FRONTEND=noninteractive; \
	$$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends $$want >/dev/null
