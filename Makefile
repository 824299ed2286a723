# Two commands matter: `make run` and `make test`. Both work on a fresh clone with Python 3.11 and nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock' --universal --python-version 3.11
WORKERS ?= 3
PYTEST_ARGS ?=
KILLS ?= 500
DATABASE ?= sqlite
SEED ?= 1

.PHONY: help install run test check bench bench-pas kill-test lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(VENV)/.installed ## Create .venv with cds-service, smart-app and sandbox-ehr from the hashed lock

run: $(VENV)/.installed ## Start service, app and sandbox EHR (CDS_PORT=8000 APP_PORT=8090 SANDBOX_PORT=8080)
	@exec $(BIN)/python -m scripts.run_demo

test: $(VENV)/.installed-dev ## Run all tests, the browser's included
	@CHROMIUM="$$(CHROMIUM="$(CHROMIUM)" scripts/find_chromium.sh)" && export CHROMIUM && \
		exec $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

check: $(VENV)/.installed-dev ## Check format, lint, types, import rules, generated files, the policy
	@$(BIN)/ruff format --check --quiet . || { echo 'format: run $(BIN)/ruff format .'; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m scripts.generate_profiles --check
	@$(BIN)/python -m scripts.generate_schemas --check
	@$(BIN)/cds-service check-policy

bench: $(VENV)/.installed-dev ## Measure speed: order-sign against the floor, forms, prior authorization
	@scripts/find_wrk.sh
	@$(BIN)/python -m scripts.bench
	@exec $(BIN)/python -m scripts.bench_prior_auth

bench-pas: $(VENV)/.installed-dev ## The last part of it alone: answers and deliveries per second on PostgreSQL
	@exec $(BIN)/python -m scripts.bench_prior_auth

kill-test: $(VENV)/.installed-dev ## Kill service and workers while requests come in (KILLS=500 DATABASE=sqlite SEED=1)
	@exec $(BIN)/python -m scripts.kill_test --kills $(KILLS) --database $(DATABASE) --seed $(SEED)

lock: $(VENV)/.installed-dev ## Write the locks anew from pyproject.toml (UPGRADE=--upgrade takes newer versions)
	@$(COMPILE) $(UPGRADE) --group build -o requirements.lock
	@$(COMPILE) $(UPGRADE) --group build --group dev -c requirements.lock -o requirements-dev.lock

clean: ## Remove the environment and what the demo wrote
	rm -rf $(VENV) var

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
		{ echo 'Python 3.11 is needed; "$(PYTHON)" is not one. Say which: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'Creating $(VENV)'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo 'Installing from requirements.lock; this is done once and takes about half a minute'
	@$(BIN)/python -m scripts.install_locked requirements.lock
	@$(PIP) install --quiet --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo 'Installing from requirements-dev.lock; this is done once and takes about half a minute'
	@$(BIN)/python -m scripts.install_locked requirements-dev.lock
	@touch $@
