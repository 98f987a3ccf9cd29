# finscale: `make` lists the targets. Each does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= studies/quickstart.yaml
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help run test test-slow check verify clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Variables: PYTHON (3.11 to 3.13), STUDY ($(STUDY)), ARGS (more options for finscale run, or for pytest)'

run: $(READY) ## run the quickstart study, or go on with it, and write its report
	$(BIN)/finscale run $(STUDY) $(ARGS)

test: $(READY) ## run the tests, but for the slow ones
	$(BIN)/pytest -n auto --dist worksteal -m 'not slow' $(ARGS)

test-slow: $(READY) ## run the slow tests: real runs, killed, stopped and shared among machines
	$(BIN)/pytest -n auto --dist worksteal -m slow $(ARGS)

check: $(READY) ## format, lint, types, import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -p no:randomly tests/test_architecture.py

verify: $(READY) ## check environment, device, data and storage
	$(BIN)/finscale doctor

clean: ## remove the virtual environment and caches; runs/ stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "finscale needs Python 3.11 to 3.13; this is " + sys.version.split()[0] + ". Name another with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV) (some minutes the first time)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
