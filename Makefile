# `make help` lists what there is.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VERSION       := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS       := -s -w -X main.version=$(VERSION)
GOLANGCI_LINT := 2.15.0
VERSITYGW     := 1.8.0
FUZZTIME      ?= 10m
BENCHTIME     ?= 1s

# The modules of the repository, the main one first.
MODULES := . $(sort $(patsubst ./%/go.mod,%,$(filter-out ./go.mod,$(shell find . -name go.mod -not -path '*/testdata/*'))))

# What tests skipped or reported, over all the runs of one "make".
NOTES := $(CURDIR)/bin/test-notes
GOTEST = bin/gotest -summary $(NOTES) --

# Nothing may change go.mod behind our back; the version comes from VERSION, not from the build.
export GOFLAGS := -mod=readonly -buildvcs=false

# Tests find what is made here: an S3 server.
export PATH := $(CURDIR)/bin:$(PATH)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14

.PHONY: build
build: ## build the static binary bin/imapped
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/imapped ./cmd/imapped

.PHONY: demo
demo: build ## mirror a sample upstream of its own and serve it on 127.0.0.1:1143
	bin/imapped demo

.PHONY: test
test: ## provide a Docker engine where that is possible, then run all that CI runs
	@tools/provision/provision.sh run $(MAKE) --no-print-directory check

.PHONY: check
check: ## run all checks and tests; the e2e suite skips itself where no Docker engine answers
	@rm -f $(NOTES)
	@rc=0; $(MAKE) --no-print-directory checks || rc=$$?; \
	    if [[ -x bin/gotest ]]; then bin/gotest -report $(NOTES); fi; exit $$rc

.PHONY: checks
checks: build format vet generated lint unit race e2e

.PHONY: fmt
fmt: ## format the Go files
	gofmt -w $(MODULES)

.PHONY: format
format: ## fail when a Go file is not formatted
	@files=$$(gofmt -l .); [[ -z $$files ]] || { echo "not formatted (make fmt):"; echo "$$files"; exit 1; }

.PHONY: vet
vet: ## go vet over all modules
	@for m in $(MODULES); do echo "go vet $$m"; (cd $$m && go vet ./...); done

bin/golangci-lint-$(GOLANGCI_LINT):
	@mkdir -p bin
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 GOFLAGS=-buildvcs=false \
	    go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_LINT)
	mv bin/golangci-lint $@

.PHONY: lint
lint: bin/golangci-lint-$(GOLANGCI_LINT) ## golangci-lint over all modules
	@for m in $(MODULES); do echo "lint $$m"; (cd $$m && $(CURDIR)/$< run --allow-parallel-runners -c $(CURDIR)/.golangci.yml ./...); done

.PHONY: generate
generate: ## write the generated files anew
	go generate ./...

.PHONY: generated
generated: ## fail when a generated file is stale
	@sums() { git ls-files -z -co --exclude-standard -- '*.go' docs | xargs -0 sha256sum 2>/dev/null || true; }; \
	    before=$$(sums); go generate ./...; after=$$(sums); \
	    [[ $$before == "$$after" ]] || { echo "generated files were stale (now written anew):"; \
	        diff <(echo "$$before") <(echo "$$after") | sed -n 's/^> [0-9a-f]*  //p'; exit 1; }

bin/gotest: $(wildcard tools/gotest/*.go)
	@mkdir -p bin
	go build -o $@ ./tools/gotest

bin/versitygw:
	@mkdir -p bin
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 GOFLAGS=-buildvcs=false \
	    go install -trimpath -ldflags '-s -w' github.com/versity/versitygw/cmd/versitygw@v$(VERSITYGW)

# The test modules other than e2e, which has a target of its own.
UNIT_MODULES := $(filter-out e2e,$(MODULES))

.PHONY: unit
unit: bin/gotest bin/versitygw ## tests of the modules, without the e2e suite
	@for m in $(UNIT_MODULES); do (cd $$m && $(CURDIR)/$(GOTEST) ./...); done

.PHONY: race
race: bin/gotest bin/versitygw ## the same tests with the race detector and the checks on released buffers
	@for m in $(UNIT_MODULES); do (cd $$m && CGO_ENABLED=1 $(CURDIR)/$(GOTEST) -short -race -tags invariants ./...); done

.PHONY: contract
contract: bin/gotest bin/versitygw ## the contract suites of the ports against every adapter
	@$(GOTEST) -count=1 ./ports/... ./adapters/...

.PHONY: e2e
e2e: bin/gotest build ## the suites against Dovecot and real clients (needs a Docker engine)
	@cd e2e && $(CURDIR)/$(GOTEST) -count=1 -timeout 25m -p 1 ./...

.PHONY: bench
bench: build ## benchmarks: Go's, then those against Dovecot and mbsync (needs a Docker engine)
	@for m in $(UNIT_MODULES); do (cd $$m && go test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem ./...); done
	@tools/provision/provision.sh run $(MAKE) --no-print-directory bench-e2e

.PHONY: bench-e2e
bench-e2e: build ## only the benchmarks against Dovecot and mbsync
	cd e2e && go run ./bench

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10m)
	@for p in $$(go list ./...); do \
	    for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	        echo "fuzz $$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; \
	    done; \
	done

.PHONY: images
images: ## build the images of the e2e suite
	tools/provision/provision.sh images

# What compose.yaml runs; COMPOSE_FLAGS are more of Compose's: -f another.yaml.
COMPOSE_FLAGS ?=
COMPOSE := tools/provision/provision.sh compose -p imapped -f compose.yaml $(COMPOSE_FLAGS)

.PHONY: image
image: ## build the image imapped
	tools/provision/provision.sh bases
	DOCKER_BUILDKIT=0 docker build --build-arg VERSION=$(VERSION) -t imapped .

.PHONY: up
up: images image ## build and start imapped with Postgres, Redis and an S3 store; IMAP on 127.0.0.1:1143 (IMAP_PORT)
	$(COMPOSE) up -d

.PHONY: up-test
up-test: up ## the same, with a Dovecot beside it; then read and write mail through it
	$(COMPOSE) --profile upstream up -d
	tools/smoke/smoke.sh -p imapped -f compose.yaml $(COMPOSE_FLAGS) --profile upstream

.PHONY: down
down: ## end what "up" started; "make down VOLUMES=1" deletes its data too
	$(COMPOSE) --profile upstream down --remove-orphans $(if $(VOLUMES),--volumes)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
