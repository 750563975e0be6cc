# make demo: install, train and score two methods on the embedded suite, print the leaderboard.
# make test: install with the dev extra, check the style, who imports whom and the types, run every test, on all cores.
#   PYTEST_ARGS are handed to pytest.
# make coverage: run every test, then print the share of lines that they ran, file by file.
# make types: check the types.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A file stays on one process, which makes the runs and datasets that its tests share once.
SPREAD := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test pytest coverage lint types format clean

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
	nice $(BIN)/basedpyright --pythonpath $(BIN)/python

test: lint  # the types are checked while the tests run, and give way to them
	$(MAKE) --no-print-directory -j2 pytest types

pytest: $(VENV)/.installed-dev
	$(BIN)/pytest $(SPREAD) $(PYTEST_ARGS)

coverage: $(VENV)/.installed-dev
	$(BIN)/pytest $(SPREAD) --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs
