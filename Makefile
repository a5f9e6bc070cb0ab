# Everything sets itself up: a virtual environment in .venv, brought up to date when pyproject.toml changes.

PYTHON ?= python3
BIN := .venv/bin
# What is installed, by extra: the demo needs little, the tests a lot.
CLI := .venv/.installed-cli
DEV := .venv/.installed-dev
BENCHMARK := .venv/.installed-benchmark

.PHONY: demo test fuzz soak lint format types examples wheel benchmark clean

demo: $(CLI)
	@$(BIN)/capenv demo

test: $(DEV)
	$(BIN)/python -m pytest

# Mutated messages through the whole receive path.
fuzz: MESSAGES = 1000000
fuzz: $(DEV)
	$(BIN)/python tests/fuzz/fuzz_receive.py --messages $(MESSAGES)

soak: $(DEV)
	CAPENV_SOAK_CALLS=100000 $(BIN)/python -m pytest -s tests/rpc/test_leaks.py -k flat

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV)
	.ci/types $(BIN)

examples: $(DEV)
	.ci/examples $(BIN)
	$(BIN)/python .ci/readme

wheel: $(DEV)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

# Eight minutes or so on two cores, which nothing else should use meanwhile.
benchmark: $(BENCHMARK)
	$(BIN)/python benchmarks/step.py --json build/benchmarks/step.json
	$(BIN)/python benchmarks/vector.py --json build/benchmarks/vector.json
	$(BIN)/python benchmarks/sessions.py --json build/benchmarks/sessions.json
	$(BIN)/python benchmarks/first_step.py --json build/benchmarks/first_step.json
	$(BIN)/python benchmarks/plot.py build/benchmarks/step.json build/benchmarks/vector.json docs/speed.png

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("capenv needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv .venv

.venv/.installed-%: pyproject.toml | .venv/bin/python
	@echo "installing capenv and what it needs for '$*' into .venv (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
