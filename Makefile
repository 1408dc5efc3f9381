# Two commands do everything on a machine with Python >= 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help env demo docs test gpu-test lowest mutate lint format slurm-test bench clean

help:
	@echo "make demo        environment, then every method at quick scale on embedded data, figures and report"
	@echo "make env         the environment alone, in .venv"
	@echo "make test        unit, golden and workflow tests"
	@echo "make lowest      unit and golden tests with the lowest versions that pyproject.toml allows; 5 GB, long"
	@echo "make gpu-test    every learning rule on a GPU; needs torch, numpy, numba and pytest, no environment"
	@echo "make mutate      faults in the learning rules, and which tests notice (docs/mutation.md); long"
	@echo "make docs        the documentation as a site, docs/_build/html; a warning is an error"
	@echo "make lint        ruff, snakefmt, snakemake --lint"
	@echo "make slurm-test  a real one-node Slurm (needs root and CREDIT_SLURM_TEST=1)"
	@echo "make bench       benchmarks into results/bench/"
	@echo "make format      lint's formatting, applied"
	@echo "make clean       remove results at quick scale and caches"

# The environment is complete when this file is newer than what it is made from.
$(VENV)/.complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

env: $(VENV)/.complete

demo: $(VENV)/.complete
	snakemake --cores all --configfile config/demo.yaml -- all
	snakemake --cores all --configfile config/demo.yaml --report results/quick/report.html -- all
	@echo
	@echo "Done. Open:"
	@ls results/quick/report.html results/quick/figures/*.png results/quick/figures/*/*.png results/quick/tables/*/*.md | sed 's/^/  /'

test: $(VENV)/.complete
	pytest -q -n 2 --dist worksteal

# What the older versions of others deprecate among themselves is no fault of ours.
LOWEST := .venv-lowest
lowest:
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tests/lowest.py pyproject.toml > $(LOWEST)/requirements.txt
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check -r $(LOWEST)/requirements.txt
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	PATH="$(CURDIR)/$(LOWEST)/bin:$$PATH" $(LOWEST)/bin/python -m pytest -q -W ignore::DeprecationWarning \
		-W ignore::PendingDeprecationWarning tests/golden tests/unit

# For a bare machine: nothing is installed, and nothing is written beside the sources.
gpu-test:
	PYTHONPATH=src $(PYTHON) -m pytest -q -p no:cacheprovider tests/gpu

mutate: $(VENV)/.complete
	python -m tests.mutation --write docs/mutation.md

lint: $(VENV)/.complete
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/rules
	@report=$$(snakemake --lint 2>&1); echo "$$report" | grep -q Congratulations || { echo "$$report"; exit 1; }
	@echo "snakemake --lint: no findings"

format: $(VENV)/.complete
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow/rules

docs: $(VENV)/.complete
	python -m docs.website
	@echo "Open docs/_build/html/index.html"

slurm-test: $(VENV)/.complete
	bash tests/slurm/run.sh

bench: $(VENV)/.complete
	snakemake --cores all bench

clean:
	rm -rf results/quick .pytest_cache .ruff_cache
