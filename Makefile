# make demo   two comparisons, from a bare machine to tables and figures under out/
# make test   ruff, mypy and all tests
# make lint   ruff and mypy alone
# make bench  CPU time of the solvers, ssa beside a C program, fsp beside scipy; half an hour on a free processor
# make peers  other simulators and cme on the same files: the ratios in the README; an hour or two, and the peers from the package index
# make clean  remove what these have made
#
# PYTHON=python3.12 make ... chooses an interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CHECK := import sys; sys.exit(sys.version_info < (3, 11) and "cme needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")

.PHONY: demo test lint bench peers clean

demo: $(VENV)/installed
	$(BIN)/cme compare models/gene_expression.xml --seed 1 --out out/gene_expression
	$(BIN)/cme compare schlogl --seed 1 --out out/schlogl

test: lint
	$(BIN)/pytest -n 2

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-bench
	OMP_NUM_THREADS=1 $(BIN)/pytest -o addopts= -q tests/benchmarks --benchmark-timer=time.process_time --benchmark-columns=min,median,stddev

peers: $(VENV)/installed
	$(BIN)/python tests/benchmarks/peers.py --install out/peers

# Stamps: make and install again only when what is needed has changed.
$(VENV)/made:
	@$(PYTHON) -c '$(CHECK)'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-bench: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
