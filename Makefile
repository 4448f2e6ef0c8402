# `make` sets up .venv; every other target does so first if it must.
BIN := .venv/bin
INSTALLED := .venv/.installed
# Files in their own order: by their number of tests, as xdist would have it, the longest test would come last.
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder

.PHONY: setup demo test check docs fix validate

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || python3 -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/emosae demo --out runs/demo

# Units first, since they say in a minute what the rest says later. Then one worker more than there are cores, since one
# has the Slurm cluster, for which it mostly waits.
test: setup
	$(PYTEST) tests/unit --timeout=120
	$(PYTEST) tests --ignore=tests/unit --numprocesses=$$(($(JOBS) + 1)) --timeout=1500 --durations=10

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(PYTEST) tests/unit --timeout=120

# The documentation's site: build/docs/index.html. A warning is an error.
docs: setup
	$(BIN)/mkdocs build --strict

fix: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Simulations and long sweeps: coverage of the statistics, kill at every stage. Then the blind test, which trains its
# variants of the organism once and keeps them below runs/.
validate: setup
	$(BIN)/python -m pytest tests -m slow --timeout=5400 --durations=0
	$(BIN)/emosae validate scenarios --out runs/validate_scenarios
