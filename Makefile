# Decoders to Encoders: `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
SWEEP ?= runs/quick
SHELL := /bin/bash
.DEFAULT_GOAL := help

.PHONY: help setup recipe report explorer-html test quick docs lint lab bench suite clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 24

setup: $(READY)  ## make the virtual environment .venv with everything in it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[notebooks,cluster,export,gguf,index,mteb,docs,test,tracking]'
	@touch $@

recipe: setup  ## run the quick sweep (at most 15 minutes) and print the compute-optimal recipe
	$(PY) -m toolkit sweep $(SWEEP)
	$(PY) -m toolkit report $(SWEEP)

report: setup  ## rebuild every figure and number of SWEEP from its runs.csv
	$(PY) -m toolkit report $(SWEEP)

explorer-html: setup  ## write explorer.html: the explorer as one page that needs no kernel
	$(PY) -m toolkit explorer $(if $(findstring file,$(origin SWEEP)),,$(SWEEP)) --output explorer.html

test: setup lint  ## lint, check types, run the tests
	$(PY) -m pytest -q -n 2 --dist loadscope

quick: setup  ## the quick tests: none starts a process, of large families a few
	$(PY) -m pytest -q -n 2 --dist loadscope -m 'not slow and not process'

docs: setup  ## build the site, every walkthrough executed: build/site/index.html
	$(PY) docs/pages.py build/site

lint: setup  ## ruff and mypy
	$(VENV)/bin/ruff check toolkit tests notebooks benchmarks docs
	$(VENV)/bin/ruff format --check toolkit tests benchmarks docs
	$(VENV)/bin/mypy toolkit

lab: setup  ## open JupyterLab on the notebooks
	$(VENV)/bin/jupyter lab --notebook-dir=notebooks

bench: setup  ## measure against the peers; writes benchmarks/results/latest.json
	$(PY) benchmarks/run.py

suite: setup  ## make the small decoders and their tokenizer again (about an hour on two cores)
	rm -rf runs/suite/tokenizer
	for name in 2k 3k 7k 15k 38k 85k 200k 559k 1.2m 2.7m; do \
	  $(VENV)/bin/papermill notebooks/pretrain.ipynb /dev/null -p decoder small-$$name || exit 1; done

clean:  ## remove the environment and caches (never runs)
	rm -rf $(VENV) .cache build docs/made .pytest_cache .mypy_cache .ruff_cache *.egg-info
