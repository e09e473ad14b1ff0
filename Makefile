# Each target sets up what it needs in .venv, once; needs Python 3.11 or later and nothing else.
PYTHON ?= python3
FUZZ_SECONDS ?= 60

VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: help run test test-all shapes pages browser claims figures docs lint fuzz clean
.NOTPARALLEL:

help:
	@echo "make run      compute and draw the overtraining chart, into results/overtraining_chart"
	@echo "make test     run the tests"
	@echo "make test-all run all cases of them, for an hour or so"
	@echo "make shapes   run those of solvers and theory with every value and shape held against its annotation"
	@echo "make pages    run every block of every page, and the notebooks"
	@echo "make browser  set up Playwright and Chromium, with which make test tries the pages to explore, too"
	@echo "make claims   judge every theoretical claim, in a few minutes, into results/claims"
	@echo "make figures  draw the gallery again; computes the results that are missing, in some minutes"
	@echo "make docs     build the pages, into docs/_build/html/index.html"
	@echo "make lint     check style and types"
	@echo "make fuzz     give linsim what nobody thought of, for FUZZ_SECONDS=60"
	@echo "make clean    remove .venv, caches and results"
	@echo "With another Python: make run PYTHON=python3.12"

run: $(VENV)/base
	$(RUN) -m experiments.overtraining_chart --overwrite

PYTEST := $(RUN) -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

test: $(VENV)/test
	$(PYTEST)

test-all: $(VENV)/test
	$(PYTEST) --all

shapes: $(VENV)/test
	$(PYTEST) --shapes tests/dynamics tests/theory

pages: $(VENV)/test
	$(PYTEST) --all tests/test_pages.py tests/test_packaging.py -k "test_pages or notebook"

# The system's Chromium: builds that Playwright downloads itself are not needed.
CHROMIUM := $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name))))

browser: $(VENV)/browser
	@test -n "$(CHROMIUM)" || { echo "installing Chromium"; apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || \
		{ echo "no Chromium, and apt-get installs none: put chromium or google-chrome on the PATH" >&2; exit 1; }

claims: $(VENV)/test
	$(RUN) -m experiments.claims --overwrite

figures: $(VENV)/test
	$(RUN) -m figures

docs: $(VENV)/docs
	$(RUN) -m sphinx --fail-on-warning --keep-going --quiet --builder html docs docs/_build/html
	@echo "docs/_build/html/index.html"

lint: $(VENV)/dev
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

fuzz: $(VENV)/test
	$(RUN) -m benchmarks.fuzz --seconds $(FUZZ_SECONDS)

clean:
	rm -rf $(VENV) results docs/_build docs/generated .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: base is what linsim needs to run, test adds what its tests need, dev adds the linters, docs
# what builds the pages, browser what drives one. The larger holds the smaller.
$(VENV)/base: EXTRAS :=
$(VENV)/base: STAMPS := base
$(VENV)/test: EXTRAS := [test]
$(VENV)/test: STAMPS := base test
$(VENV)/dev: EXTRAS := [dev]
$(VENV)/dev: STAMPS := base test dev
$(VENV)/docs: EXTRAS := [docs]
$(VENV)/docs: STAMPS := base test docs
$(VENV)/browser: EXTRAS := [browser]
$(VENV)/browser: STAMPS := base test browser

$(VENV)/base $(VENV)/test $(VENV)/dev $(VENV)/docs $(VENV)/browser: $(VENV)/created pyproject.toml constraints.txt
	@echo "setting up linsim$(EXTRAS) in $(VENV); the first time this takes about a minute"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.$(EXTRAS)'
	@cd $(VENV) && touch $(STAMPS)

$(VENV)/created:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found; name a Python 3.11 or later: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; name a later one: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@
