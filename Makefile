# gofleet: `make demo` tries it on this machine, `make test` tests it.
# Both install what they need; see .ci/setup.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# .ci/setup puts a Go there if this machine has none.
export PATH := $(CURDIR)/.cache/go/bin:$(PATH):/usr/local/go/bin

GO       ?= go
BIN      := $(CURDIR)/bin
EMBED    := controller/internal/agents/bin
# The platforms that agents are built for, as Go archives spell them. Fewer
# build faster: make build PLATFORMS=linux-amd64
PLATFORMS ?= linux-amd64 linux-arm64 linux-386 linux-armv6l linux-ppc64le linux-s390x linux-riscv64
# Agents travel to every new host: what is not inlined is smaller, by a tenth.
# What spends a host's time stays inlined, and has buffers on the stack for
# slices that may be small. The older garbage collector is smaller by a
# hundredth, as long as there is one (docs/performance.md).
HOT         := github.com/klauspost/compress/... github.com/gofleet/gofleet/agent/gunzip encoding/binary internal/byteorder crypto/... hash/crc32
AGENT_FLAGS := -trimpath -gcflags='all=-l -d=variablemakethreshold=0' $(HOT:%=-gcflags=%=) -ldflags='-s -w -buildid= -funcalign=4'
AGENT_SRC := $(shell find agent -name '*.go' -not -name '*_test.go') go.mod go.sum
GO_SRC    := $(shell find agent controller -type f -not -name '*_test.go' -not -path '*/testdata/*' -not -path '$(EMBED)/*') go.mod go.sum

.PHONY: help setup build lab agents collection demo test test-ansible test-fast lint lint-ansible man bench faults drill fuzz clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what building, the demo and the tests need
	@.ci/setup test

build: ## build bin/gofleet with the agents of every platform inside
	@.ci/setup build
	@$(MAKE) --no-print-directory $(BIN)/gofleet

lab: build $(BIN)/gofleet-lab ## build bin/gofleet-lab, which starts test hosts on this machine

agents: $(EMBED)/index ## build and compress the agents

# Changes when other platforms are asked for than the last time.
$(BIN)/platforms: FORCE
	@mkdir -p $(BIN)
	@[ "$$(cat $@ 2>/dev/null)" = "$(PLATFORMS)" ] || echo "$(PLATFORMS)" > $@
FORCE:

# One rule builds all agents: they are the same sources.
$(EMBED)/index: $(AGENT_SRC) controller/internal/agents/pack/main.go $(BIN)/platforms
	@mkdir -p $(BIN)/agents && rm -f $(BIN)/agents/* $(EMBED)/*.gz $(EMBED)/index
	@case $$($(GO) env GOVERSION) in go1.26*) export GOEXPERIMENT=nogreenteagc ;; esac; \
	for p in $(PLATFORMS); do \
	  arch=$${p#linux-}; goarm=; [ $$arch != armv6l ] || { arch=arm; goarm=6; }; \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch GOARM=$$goarm $(GO) build $(AGENT_FLAGS) \
	    -o $(BIN)/agents/gofleet-agent-$$p ./agent/cmd/gofleet-agent; \
	done
	@$(GO) run ./controller/internal/agents/pack -o $(EMBED) $(BIN)/agents

$(BIN)/gofleet: $(EMBED)/index $(GO_SRC)
	@mkdir -p $(BIN)
	$(GO) build -trimpath -o $@ ./controller/cmd/gofleet

$(BIN)/gofleet-lab: $(GO_SRC)
	@mkdir -p $(BIN)
	$(GO) build -trimpath -o $@ ./controller/cmd/gofleet-lab

demo: ## fetch Go, start three hosts, audit, apply, apply again
	@.ci/demo

test: setup ## run every test
	@$(MAKE) --no-print-directory build $(BIN)/gofleet-lab
	@.ci/test

test-ansible: setup ## run the collection's tests with every ansible-core; `make test` takes the oldest and the newest
	@$(MAKE) --no-print-directory build && .ci/ansible all
	@GOFLEET_ANSIBLE=$(CURDIR)/.cache/ansible GOFLEET_ANSIBLE_MATRIX=all $(GO) test -timeout 60m ./controller/e2e/ansible

test-fast: build ## run the tests that need no hosts
	@.ci/test fast

lint: ## gofmt, vet, staticcheck
	@.ci/setup build
	@.ci/lint

lint-ansible: setup ## run ansible-lint and ansible-test sanity for the collection
	@.ci/lint-ansible

collection: build ## build the Ansible collection's tarball into dist/
	@.ci/collection

man: build ## write the man pages to bin/man
	@mkdir -p $(BIN)/man && $(BIN)/gofleet man $(BIN)/man

bench: build $(BIN)/gofleet-lab ## measure gofleet beside ssh, tar, pyinfra and Ansible
	@.ci/bench

faults: build ## run only the tests that break power, networks, disks and processes
	@$(GO) test -timeout 40m ./controller/e2e/faults

drill: build ## kill gofleet and its agents 500 times, break networks 200 times; look at the hosts each time
	@.ci/drill

FUZZTIME ?= 10m
fuzz: ## run every fuzz target, each for FUZZTIME; FUZZ=wire chooses some
	@.ci/fuzz $(FUZZTIME) $(FUZZ)

clean: ## remove what was built
	rm -rf $(BIN) $(EMBED)/*.gz $(EMBED)/index
