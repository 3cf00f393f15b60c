# `make demo` and `make test` are each the only command needed on a fresh machine.
PYTHON ?= python3
VENV := .venv
unexport PYTHONDONTWRITEBYTECODE  # tests are compiled once, not by each process of each run
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test tests lint format docs rate-distortion clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(READY)  ## train a small translator, compress it, and compare files
	$(BIN)/python -m recipes.demo --output demo-output

# At the same time, because mypy uses one core.
test: $(READY)  ## lint, layers, types, all tests, and the documentation
	@$(MAKE) --no-print-directory --jobs=2 lint tests docs

tests: $(READY)  ## all tests
	$(BIN)/python -m pytest -n 2

lint: $(READY)  ## formatting, lint, types and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## rewrite files in the project format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)  ## build the documentation into site/; broken links fail
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

rate-distortion: $(READY)  ## BLEU against bytes for this package and others: MODELS=folder of yardstick.py, OUT=folder of results
	@test -n "$(MODELS)" -a -n "$(OUT)" || { echo "expected: make rate-distortion MODELS=DIR OUT=DIR"; exit 2; }
	$(BIN)/python -m benchmarks.rate_distortion --models $(MODELS) --out $(OUT) --docs docs
	$(BIN)/python -m benchmarks.rate_distortion.table $(OUT)/points.csv
	$(BIN)/python -m benchmarks.rate_distortion.compare $(OUT)/points.csv

clean:  ## remove what the other targets made
	rm -rf $(VENV) site demo-output build dist
