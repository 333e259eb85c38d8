# `make` prints this help. Everything that is needed is installed by the targets themselves.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH := hack
export PYTHONSAFEPATH := 1

.PHONY: help docs docs-troubleshooting check format lint types contracts chart-lint test test-unit test-registry test-apiserver test-node test-kind demo bench image sbom audit lock clean

help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: pyproject.toml hack/requirements/development.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement hack/requirements/development.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

check: lint types contracts chart-lint audit ## Format, lint, types, import contracts, chart lint, dependency audit

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
	$(BIN)/yamllint --strict -d '{extends: default, rules: {line-length: {max: 120}, document-start: disable}}' charts/replicated-proxy-operator/values.yaml charts/replicated-proxy-operator/Chart.yaml charts/replicated-proxy-operator/ci
	$(BIN)/python -m pytest --quiet tests/chart

# In two halves at the same time: most tests on an API server wait, and leave a core to the others.
test: .venv/installed ## Everything: unit, API server and, where a node can run, end to end
	@$(BIN)/python -m pytest -m apiserver -o cache_dir=.pytest_cache/apiserver > >(sed -u 's/^/apiserver | /') 2>&1 & other=$$!; \
	trap 'kill $$other' INT TERM; \
	$(BIN)/python -m pytest -m "not apiserver"; failed=$$?; \
	wait $$other && exit $$failed

test-unit: .venv/installed ## What needs no cluster
	$(BIN)/python -m pytest -m "not apiserver and not node and not registry"

test-registry: .venv/installed ## Against real registries
	$(BIN)/python -m pytest -m registry

test-apiserver: .venv/installed ## On a real API server
	$(BIN)/python -m pytest -m apiserver

test-node: .venv/installed ## On a whole node (Linux, root)
	$(BIN)/python -m pytest -m node

test-kind: .venv/installed ## The tests with Pods and the demo, on a kind that is assembled here with its Docker (Linux, root; minutes)
	CLUSTER=kind-assembled $(BIN)/python -m pytest -m node tests/rig/test_kind.py tests/node
	CLUSTER=kind-assembled $(BIN)/python -m demo

demo: .venv/installed ## Tell the whole story on a real cluster (KEEP=1 leaves it up; CLUSTER=kind, node, existing …: docs/clusters.md)
	$(BIN)/python -m demo

bench: .venv/installed ## Measure beside bare comparisons (SECTION=webhook, admission, overload, scale or takeover)
	$(BIN)/python -m bench

docs: .venv/installed ## Write the generated pages of docs/
	$(BIN)/python -m pages

docs-troubleshooting: .venv/installed ## Write docs/troubleshooting.md from a real API server
	PYTHONPATH=hack:tests $(BIN)/python tests/describing.py

image: .venv/installed ## Build the image for amd64 and arm64 into build/image, and say what each layer costs
	$(BIN)/python -m supply_chain image

sbom: .venv/installed ## Write the image's bills of materials (CycloneDX) into build/image
	$(BIN)/python -m supply_chain sbom

audit: .venv/installed ## Audit the dependencies: the lock, floors, known flaws, withdrawn versions
	$(BIN)/python -m supply_chain audit

lock: .venv/installed ## Write the hashed requirement files anew
	hack/lock

clean: ## Remove what the targets made here (not the build cache of the cluster's programs)
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
