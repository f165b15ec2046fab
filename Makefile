# Everything runs in .venv, which is built on first use and again only when pyproject.toml,
# setup.py or constraints.txt changes. `make PYTHON=/path/to/python3.12 test` chooses the interpreter
# it is built from; ARGS is handed on: `make test ARGS="tests/runtime/test_files.py -x"`.

PYTHON ?= python3
# The versions TensorFlow is built for.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# An interpreter somebody named is used or refused, never replaced by another.
FALLBACKS := $(if $(filter file,$(origin PYTHON)),python3.13 python3.12 python3.11)
VENV_PYTHON := .venv/bin/python
INSTALL := $(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt

.PHONY: help demo test test-slow test-faults lint format benchmark results notebooks \
	docs dist clean

help:
	@echo "make demo       train digits with three losses, print the table, write the report"
	@echo "make test       run the tests"
	@echo "make test-slow  run the longer checks"
	@echo "make test-faults  damage files and fail disks in every place"
	@echo "make lint       check style, formatting and types"
	@echo "make format     repair what a machine can repair of them"
	@echo "make benchmark  measure throughput and memory"
	@echo "make results    write docs/results.md and its figures from results/"
	@echo "make notebooks  run the notebooks and write their outputs"
	@echo "make docs       write the pages as a site to build/docs/html"
	@echo "make dist       build wheel and sdist in dist/ and check them"
	@echo "make clean      remove .venv, builds and caches; runs/ stays"

demo: .venv/.installed
	$(VENV_PYTHON) -m tools.demo $(ARGS)

# Building and tracing networks keeps one core busy at a time: two processes are faster.
test: .venv/.installed-test
	$(VENV_PYTHON) -m pytest --numprocesses=2 --dist=loadfile $(ARGS)

test-slow: .venv/.installed-test
	$(VENV_PYTHON) -m pytest -m slow $(ARGS)

test-faults: .venv/.installed-test
	$(VENV_PYTHON) -m pytest -m faults $(ARGS)

lint: .venv/.installed-test
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy

format: .venv/.installed-test
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

benchmark: .venv/.installed
	$(VENV_PYTHON) -m tools.benchmark $(ARGS)

results: .venv/.installed
	$(VENV_PYTHON) -m tools.results $(ARGS)

notebooks: .venv/.installed-test
	$(VENV_PYTHON) -m tools.run_notebooks

# docs/conf.py writes the reference of flags, parameters and API first.
docs: .venv/.installed-docs
	$(VENV_PYTHON) -m sphinx -W --keep-going -b html docs build/docs/html

dist: .venv/.installed-dist
	rm -rf dist
	$(VENV_PYTHON) -m build --outdir dist .
	$(VENV_PYTHON) -m twine check --strict dist/*

clean:
	rm -rf .venv build dist *.egg-info .hypothesis .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# A .venv that lacks pip (interrupted) or has the wrong Python is built anew.
# Interpreters are tried by running them: version managers leave names behind
# that start nothing.
.venv/.installed: pyproject.toml setup.py constraints.txt
	@if ! $(VENV_PYTHON) -c 'import pip; $(SUPPORTED)' 2>/dev/null; then \
	  for python in "$(PYTHON)" $(FALLBACKS); do \
	    if "$$python" -c '$(SUPPORTED)' 2>/dev/null; then \
	      echo "Building .venv with $$python ($$("$$python" --version))"; \
	      "$$python" -m venv --clear .venv; \
	      exit; \
	    fi; \
	  done; \
	  echo "bsce_keras needs Python 3.11, 3.12 or 3.13. Received:" \
	    "$(PYTHON) ($$("$(PYTHON)" --version 2>&1 | head -n 1))." \
	    "Name another with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
	  exit 1; \
	fi
	@echo "Installing TensorFlow, Keras and bsce_keras into .venv (some minutes)"
	@$(INSTALL) --editable .
	@touch $@

.venv/.installed-test: .venv/.installed
	@echo "Installing what the tests need into .venv"
	@$(INSTALL) --editable ".[test]"
	@touch $@

.venv/.installed-docs: .venv/.installed
	@echo "Installing what the docs need into .venv"
	@$(INSTALL) --editable ".[docs]"
	@touch $@

.venv/.installed-dist: .venv/.installed
	@echo "Installing what the distributions need into .venv"
	@$(INSTALL) --editable ".[dist]"
	@touch $@
