# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint configs/constraints.txt

# Tests are compiled once, and not by each process again, where the environment says otherwise: a fifth of the start.
export PYTHONDONTWRITEBYTECODE :=
# Cases that the slow tests of `tests/fuzz` and `tests/verify` make, of each kind; 2,000 of each take hours.
export ACTKIT_CASES ?= 60

.PHONY: help install demo picture test test-all test-slow guards test-real coverage package lint types imports check bench bench-longer bench-peers bench-memory bench-start clean

help:            ## Show this list.
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

# torch first and alone: asked for by another package, it would come in its newest and largest build.
$(VENV)/.installed: pyproject.toml configs/constraints.txt
	@echo "installing into $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) torch
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) --editable '.[dev]'
	@touch $@

install: $(VENV)/.installed  ## Make a virtual environment with actkit in it.

demo: $(VENV)/.installed  ## Preference pairs through the bundled model: Parquet tables and a page; then actkit demo.
	$(BIN)/actkit dpo --config configs/demo.yaml --overwrite
	$(BIN)/actkit show runs/demo
	$(BIN)/actkit report runs/demo --overwrite
	$(BIN)/actkit demo

picture: $(VENV)/.installed-dev  ## The README's picture.
	$(BIN)/actkit concept honesty --layers all -o runs/honesty --overwrite --quiet
	$(BIN)/actkit plot runs/honesty layers --width 760 -o actkit/docs/honesty.svg --overwrite

test: $(VENV)/.installed-dev  ## The tests; no network, no GPU, under three minutes on two cores.
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-all: $(VENV)/.installed-dev  ## The slow tests too, an hour and more; ACTKIT_CASES=2000 makes more cases.
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m ''

test-slow: $(VENV)/.installed-dev  ## The slow tests alone, those that guard data and numbers first; MINUTES=40 begins none later.
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'slow and not real' $(if $(MINUTES),--minutes $(MINUTES))

guards: $(VENV)/.installed-dev  ## Those of the slow tests that CI runs: data, numbers, kills and full disks, resuming, verify, the server.
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'slow and guard and not real'

test-real: $(VENV)/.installed-dev  ## Tests on a real model, SmolLM2-135M-Instruct, in ACTKIT_REAL_MODEL, or else downloaded.
	$(BIN)/python -m pytest -q -rP -m real tests/real

coverage: $(VENV)/.installed-dev  ## Which branches the quick tests reach.
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --cov=actkit --cov-branch --cov-report=term:skip-covered

package: $(VENV)/.installed-dev  ## Build sdist and wheel, check them, and run the installed wheel.
	rm -rf dist build/wheel && $(BIN)/python -m build -q --outdir dist && $(BIN)/python -m twine check --strict dist/*
	test $$(stat -c %s dist/*.whl) -le 13000000
	$(PYTHON) -m venv build/wheel && build/wheel/bin/python -m pip install -qq --disable-pip-version-check \
		--constraint configs/constraints.txt torch && build/wheel/bin/python -m pip install -qq \
		--disable-pip-version-check --constraint configs/constraints.txt dist/*.whl
	cd build && wheel/bin/actkit concept honesty --layers 2 --max-samples 24 --overwrite -o wheel-run && wheel/bin/actkit docs > /dev/null

lint: $(VENV)/.installed-dev  ## ruff: style and format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev  ## mypy, strict.
	$(BIN)/mypy

imports: $(VENV)/.installed-dev  ## import-linter: imports go one way.
	$(BIN)/lint-imports

check: lint types imports test  ## All that CI runs.

bench: $(VENV)/.installed-dev  ## Speed beside other ways to do the same work.
	$(BIN)/python -m tests.benchmarks

bench-longer: $(VENV)/.installed-dev  ## The same with a Llama of 135 M, long documents, wide SAEs, three in one pass.
	$(BIN)/python -m tests.benchmarks --longer

bench-peers: $(VENV)/.installed-dev  ## The same beside other tools, each installed in the user's cache.
	$(BIN)/python -m tests.benchmarks --peers

bench-memory: $(VENV)/.installed-dev  ## The most memory each command holds, for 2,000 and 50,000 records.
	$(BIN)/python -m tests.benchmarks.memory

bench-start: $(VENV)/.installed-dev  ## How long actkit takes to start.
	$(BIN)/python -m tests.benchmarks.start

clean:           ## Remove the virtual environment and caches.
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
