# Every target does the set-up that it needs. `make PYTHON=python3.12 course` names another Python.
.DEFAULT_GOAL := help
.PHONY: help course lab slides offline-kit figures test test-browser bench bench-quick lint clean data

# Kernels may load torch before cprec_lib, whose __init__.py says what this is for.
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 1000
endif

# As many processes of tests as there are cores, up to four, with one thread each. The cells of a
# notebook run in one process.
WORKERS := -n logical --maxprocesses 4
test test-browser: export OMP_NUM_THREADS := 1

READY := .venv/.ready
ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN := .venv/Scripts
else
PYTHON ?= python3
BIN := .venv/bin
endif

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

course: data  ## Run every notebook; a site to read and the executed notebooks go to build/course/.
	$(BIN)/python -m tools.course run

lab: data  ## Open JupyterLab at the first notebook, in your own copy of the notebooks.
	$(BIN)/python -m cprec_lib workbook
	$(BIN)/python -m jupyterlab --ip=127.0.0.1 --allow-root my_work/00_start_here.ipynb

slides: $(READY)  ## Make slides of the notebooks as they are stored, in build/slides/.
	$(BIN)/python -m tools.slides

offline-kit: data  ## Make build/cprec-offline/, with which the course runs without a network.
	$(BIN)/python -m tools.offline_kit

figures: data  ## Run the notebooks in place; figures go to build/figures/ as PNG and SVG.
	$(BIN)/python -m tools.course figures

test: data  ## Run the tests, then every notebook as a test.
	$(BIN)/python -m pytest $(WORKERS) --dist worksteal tests
	$(BIN)/python -m pytest $(WORKERS) --dist loadfile \
		--nbval-lax --nbval-current-env --nbval-cell-timeout 900 notebooks

test-browser: data  ## Run the notebooks in JupyterLab and open the pages, in the system's Chromium.
	$(BIN)/python -m pytest $(WORKERS) --dist loadgroup tests/browser

bench: data  ## Measure speed and memory beside other ways, about 50 minutes; README's table anew.
	$(BIN)/python -m benchmarks && $(BIN)/python -m benchmarks.report

bench-quick: data  ## The same at few sizes, under 6 minutes; results go to build/bench/.
	$(BIN)/python -m benchmarks --quick

lint: $(READY)  ## Check code and notebooks with ruff, types and import order of the library.
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

data: $(READY)  ## Fetch MovieLens-100K, once.
	$(BIN)/python -m cprec_lib data ml-100k

clean:  ## Delete what was built and the environment; downloads and my_work/ stay.
	rm -rf build .venv

$(READY): requirements.lock pyproject.toml
	$(PYTHON) tools/set_up.py
