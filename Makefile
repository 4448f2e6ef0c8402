# `make` sets up .venv; every other target does so first if it must.
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: setup demo test check fix validate

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || python3 -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/emosae demo --out runs/demo

# Units first, since they say in a minute what the rest says later.
test: setup
	$(BIN)/python -m pytest tests/unit --timeout=120
	$(BIN)/python -m pytest tests --ignore=tests/unit --timeout=1500 --durations=10

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/python -m pytest tests/unit --timeout=120

fix: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Simulations and long sweeps: coverage of the statistics, kill at every stage.
validate: setup
	$(BIN)/python -m pytest tests -m slow --timeout=5400 --durations=0
