# Needs only make and Python 3.11 or newer: everything else goes into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
# Images for Python often set it. Tests start hundreds of processes: each would compile all that it imports, for half of its time.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo
RAY_VERSION := 2.60.0
PORT ?= 8080
ARGS ?=
RUNS ?= 200
SEED ?= 1
JOBS ?= 4
SBOM ?= dist/sbom.cdx.json
LOCK_OPTIONS := --extra parquet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

# uv takes seconds where pip takes minutes; pip knows more places to get packages from (pip.conf), and does what uv cannot.
define install
	@UV_SYSTEM_CERTS=1 $(BIN)/uv pip install --quiet --python $(BIN)/python $(1) 2>/dev/null \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check $(1)
endef

.PHONY: help topologies setup core-test demo test check hostile soak lint format type bench bench-quick browser-matrix screenshots docs site lock sbom clean collector-faults ray

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready-dev $(VENV)/.core ## install everything that developing needs into .venv

# A newer Python is taken when `python3` itself is too old.
$(VENV)/.ready: requirements.lock pyproject.toml
	@python=""; \
	for candidate in python3 python3.13 python3.12 python3.11 python3.14; do \
	  if command -v $$candidate >/dev/null && $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "make: Python 3.11 or newer is needed, and none was found" >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "make: $$python cannot make virtual environments: install python3-venv (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; fi; \
	if ! [ -x $(BIN)/python ]; then echo "making $(VENV) with $$($$python --version)"; $$python -m venv $(VENV); fi
	@echo "installing requirements.lock"
	@awk '/^uv==/, !/\\$$/' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes --requirement $(VENV)/uv.lock \
	  || echo "without uv: pip does its work"
	$(call install,--require-hashes --requirement requirements.lock)
	$(call install,--no-deps --no-build-isolation --editable .)
	@touch $@

$(VENV)/.ready-dev: requirements-dev.lock $(VENV)/.ready
	@echo "installing requirements-dev.lock"
	$(call install,--require-hashes --requirement requirements-dev.lock)
	@touch $@

# The engine's core in Rust. Kept by its sources, for other checkouts on this machine. Without cargo the plain Python engine does its work.
CARGO := $(or $(shell command -v cargo),$(wildcard $(HOME)/.cargo/bin/cargo))
CORE_SOURCES := $(wildcard core/Cargo.* core/src/*.rs)
CORE = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ray-history-core/$(shell cat $(CORE_SOURCES) | cksum | tr ' ' -)

core/.built: $(CORE_SOURCES)
	@if [ -z "$(CARGO)" ]; then echo "without the core in Rust (there is no cargo): the plain Python engine does its work"; \
	elif ! [ -e $(CORE).so ]; then \
	  echo "building the core in Rust"; \
	  if PATH="$(dir $(CARGO)):$$PATH" PYO3_NO_PYTHON=1 cargo build --quiet --release --locked --manifest-path core/Cargo.toml --target-dir core/target; then \
	    mkdir -p $(dir $(CORE)) && cp core/target/release/libray_history_core.so $(CORE).tmp && mv $(CORE).tmp $(CORE).so; \
	  else echo "without the core in Rust (it could not be built): the plain Python engine does its work"; fi; fi
	@touch $@

$(VENV)/.core: core/.built $(VENV)/.ready
	@if [ -e $(CORE).so ]; then cp $(CORE).so "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/ray_history_core.abi3.so"; fi
	@touch $@

core-test: ## check and test the core in Rust
	+@PATH="$(dir $(CARGO)):$$PATH" PYO3_NO_PYTHON=1 cargo clippy --quiet --locked --manifest-path core/Cargo.toml --target-dir core/target -- -D warnings
	+@PATH="$(dir $(CARGO)):$$PATH" cargo test --quiet --locked --no-default-features --manifest-path core/Cargo.toml --target-dir core/target

demo: $(VENV)/.ready ## run everything on the bundled recorded sessions at http://127.0.0.1:8080
	@$(BIN)/python tests/data/recorded.py unpack $(DEMO) --only bucket
	@$(BIN)/ray-history dashboard fetch $(RAY_VERSION) --directory $(DEMO)/dashboard >/dev/null \
	  || { mkdir -p $(DEMO)/dashboard; echo "without the Ray dashboard's own pages: they could not be fetched"; }
	@RAY_HISTORY_DASHBOARD_DIR=$(DEMO)/dashboard exec $(BIN)/ray-history up --storage $(DEMO)/bucket --data-dir $(DEMO)/data --port $(PORT) $(ARGS)

test: $(VENV)/.ready-dev ## run every test (ARGS="-k name" for some)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint type ## what an inner loop needs: linters, types, unit tests (ARGS="-k name" for some)
	@$(BIN)/python -m pytest -n 2 -q tests/unit $(ARGS)

hostile: $(VENV)/.ready-dev ## load 500 sessions with mutated event files (SEED=7 ARGS="-k name")
	@HOSTILE_LOADS=500 HOSTILE_SEED=$(SEED) $(BIN)/python -m pytest -q tests/integration/test_hostile.py $(ARGS)

soak: $(VENV)/.ready-dev ## load sessions while faults strike (RUNS=1000 SEED=7 JOBS=4; docs/reliability.md)
	@$(BIN)/python -m tests.soak --runs $(RUNS) --seed $(SEED) --jobs $(JOBS) $(ARGS)

collector-faults: $(VENV)/.ready-dev ## 200 seeded runs of the collector under SIGKILL, a storage that is away (in 3 more: for 2 minutes), a full disk
	@COLLECTOR_SEEDS=$$(seq -s, 1 200) COLLECTOR_SECONDS=6 COLLECTOR_OUTAGE_SEEDS=1,2,3 COLLECTOR_OUTAGE=120 $(BIN)/python -m pytest -q -n 2 tests/integration/test_collector.py -k acknowledged $(ARGS)

ray: $(VENV)/.ready-dev ## collect a real Ray and look at its history, put one in front (installs Ray into .venv-ray)
	@test -x .venv-ray/bin/ray || { $(BIN)/python -m venv .venv-ray && .venv-ray/bin/pip install --quiet "ray[default]==$(RAY_VERSION)"; }
	@RAY_PROGRAM=$(CURDIR)/.venv-ray/bin/ray $(BIN)/python -m pytest -q tests/real_ray.py tests/browser/real_behind_ray.py $(ARGS)

topologies: $(VENV)/.ready-dev ## lose a Sentinel's master and a node of a Cluster while sessions load (a few minutes, outside CI)
	@$(BIN)/python -m pytest -q tests/integration/redis_topologies.py $(ARGS)

lint: $(VENV)/.ready-dev ## check style, formatting and the layers
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports

format: $(VENV)/.ready-dev ## format and fix what ruff can
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

type: $(VENV)/.ready-dev ## check types (mypy, strict)
	@$(BIN)/mypy

bench: $(VENV)/.ready-dev ## run the benchmarks
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(VENV)/.ready-dev ## run the benchmarks on small data
	@$(BIN)/python -m benchmarks --quick $(ARGS)

browser-matrix: $(VENV)/.ready-dev ## open every dashboard page of every session in every build (ARGS="--bucket DIR" for others' sessions)
	@$(BIN)/python -m tests.browser.matrix --write docs/dashboard-pages.md $(ARGS)

screenshots: $(VENV)/.ready-dev ## take the pictures of README and docs anew
	@$(BIN)/python -m tests.browser.screenshots $(ARGS)

docs: $(VENV)/.ready ## write docs/configuration.md from the settings, docs/metrics.md from the metrics
	@$(BIN)/ray-history config --reference > docs/configuration.md
	@$(BIN)/ray-history metrics > docs/metrics.md

site: $(VENV)/.ready-dev ## build docs/ as a site in site/, and check its links
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lock: $(VENV)/.ready-dev ## resolve the locks anew, keeping what still fits (ARGS=--upgrade for the newest)
	@$(BIN)/uv pip compile pyproject.toml --group dev $(LOCK_OPTIONS) $(ARGS) --output-file requirements-dev.lock
	@$(BIN)/uv pip compile pyproject.toml --group build $(LOCK_OPTIONS) \
	  --constraint <(sed -n 's/^\([a-z0-9-]*==[^ ;]*\).*/\1/p' requirements-dev.lock) --output-file requirements.lock

sbom: $(VENV)/.ready-dev ## write a bill of materials (CycloneDX) of the locked dependencies to dist/sbom.cdx.json
	@mkdir -p $(dir $(SBOM))
	@$(BIN)/python -W ignore -m cyclonedx_py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --output-file $(SBOM)

clean: ## remove .venv, the demo's data and caches
	@rm -rf $(VENV) .venv-ray core/.built core/target $(DEMO) .soak dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
