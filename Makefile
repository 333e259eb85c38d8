# `make` prints this help. Everything that is needed is installed by the targets themselves.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH := hack
export PYTHONSAFEPATH := 1

.PHONY: help docs docs-troubleshooting check format lint types contracts chart-lint test test-unit test-registry test-apiserver test-node demo bench lock clean

help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: pyproject.toml hack/requirements/development.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement hack/requirements/development.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

check: lint types contracts chart-lint ## Format, lint, types, import contracts, chart lint

format: .venv/installed ## Rewrite the sources in the one format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: .venv/installed ## Check format and lint
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: .venv/installed ## mypy --strict over source, hack/ and tests
	$(BIN)/mypy operator hack tests

contracts: .venv/installed ## Who may import whom
	$(BIN)/lint-imports

chart-lint: .venv/installed ## helm lint, and YAML style
	$(BIN)/python -m rig build --kind helm
	$(BIN)/yamllint --strict -d '{extends: default, rules: {line-length: {max: 120}, document-start: disable}}' charts/replicated-proxy-operator/values.yaml charts/replicated-proxy-operator/Chart.yaml
	$(BIN)/python -m pytest --quiet tests/chart

test: .venv/installed ## Everything: unit, API server and, where a node can run, end to end
	$(BIN)/python -m pytest

test-unit: .venv/installed ## What needs no cluster
	$(BIN)/python -m pytest -m "not apiserver and not node and not registry"

test-registry: .venv/installed ## Against real registries
	$(BIN)/python -m pytest -m registry

test-apiserver: .venv/installed ## On a real API server
	$(BIN)/python -m pytest -m apiserver

test-node: .venv/installed ## On a whole node (Linux, root)
	$(BIN)/python -m pytest -m node

demo: .venv/installed ## Tell the whole story on a real cluster (KEEP=1 leaves it up)
	$(BIN)/python -m demo

bench: .venv/installed ## Measure beside bare comparisons (SECTION=webhook, admission, overload, scale or takeover)
	$(BIN)/python -m bench

docs: .venv/installed ## Write the generated pages of docs/
	$(BIN)/python -m pages

docs-troubleshooting: .venv/installed ## Write docs/troubleshooting.md from a real API server
	PYTHONPATH=hack:tests $(BIN)/python tests/describing.py

lock: .venv/installed ## Write the hashed requirement files anew
	hack/lock

clean: ## Remove what the targets made here (not the build cache of the cluster's programs)
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
