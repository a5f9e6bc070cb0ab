# Everything sets itself up: a virtual environment in .venv, made when pyproject.toml is newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint types examples wheel benchmark clean

demo: $(READY)
	@$(BIN)/capenv demo

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	.ci/types $(BIN)

examples: $(READY)
	.ci/examples $(BIN)

wheel: $(READY)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

benchmark: $(READY)
	$(BIN)/python benchmarks/step.py

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("capenv needs Python 3.11 or newer; set PYTHON=") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once; a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
