# make demo: install, train and score two methods on the embedded suite, print the leaderboard.
# make test: install with the dev extra, check the style, who imports whom and the types, run every test, on all cores.
#   PYTEST_ARGS are handed to pytest.
# make coverage: run every test, then print the share of lines that they ran, file by file.
# make types: check the types.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test coverage lint types format clean

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/drake eval --method sft --preset quick --out runs/demo-sft --overwrite always
	$(BIN)/drake eval --method fedmosaic --preset quick --out runs/demo-fedmosaic --overwrite always
	$(BIN)/drake leaderboard runs/demo-sft runs/demo-fedmosaic

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.installed-dev
	$(BIN)/basedpyright --pythonpath $(BIN)/python

test: lint types
	$(BIN)/pytest -n auto --dist worksteal $(PYTEST_ARGS)

coverage: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs
