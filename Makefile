# Every target sets up its own environment first; PYTHON names the interpreter it is made with.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test check fast lint types bench bench-quick bench-faults studies docs clean

help:  ## what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/installed  ## train on the embedded data set, evaluate, write the report
	$(BIN)/embedfit demo --out runs/demo

test: $(VENV)/installed-test  ## all tests
	$(BIN)/python -m pytest -n auto --dist worksteal

fast: $(VENV)/installed-test  ## the tests that take no training
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

check: lint types test docs  ## everything a change must pass

lint: $(VENV)/installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/installed-check
	$(BIN)/mypy

bench: $(VENV)/installed-bench  ## speed, memory and quality tables (long)
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.speed --only time_to_quality

bench-quick: $(VENV)/installed-bench  ## only that every row of the speed table runs
	$(BIN)/python -m benchmarks.speed --quick

bench-faults: $(VENV)/installed-bench  ## planted faults: how often the doctor is right (long)
	$(BIN)/python -m benchmarks.faults

studies: $(VENV)/installed-test  ## the tables behind the defaults and the claims of the articles (long)
	for study in defaults negatives corpora collapse schedules sweeps batch_laws unseen graded no_negatives interaction transfer align_losses align_spaces two_languages; do $(BIN)/python -m studies.$$study || exit 1; done

docs: $(VENV)/installed-docs  ## the documentation site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:  ## remove the environment and everything built
	rm -rf $(VENV) site dist .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-bench: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[test,bench]'
	@touch $@ $(VENV)/installed $(VENV)/installed-test

$(VENV)/installed-check: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[test,check]'
	@touch $@ $(VENV)/installed $(VENV)/installed-test

$(VENV)/installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[docs]'
	@touch $@
