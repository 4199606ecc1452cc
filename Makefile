# Every target makes what it needs: Python 3.11 or newer and make are enough to begin with.

# PYTHON=/path/to/python chooses the interpreter of .venv; it counts only when .venv is made.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# make bench SIZE=small is a quick look.
SIZE ?=
# make test ARGS="tests/sync -x" runs a part.
ARGS ?=
# make soak KILLS=1000 goes on for longer; SEED=... makes the same choices again.
KILLS ?=
SEED ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check bench soak clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    load real data into a warehouse, on a PostgreSQL server of its own"
	@echo "make test    run the tests"
	@echo "make check   run the linters and the type checker"
	@echo "make bench   measure against hand-written SQL (SIZE=small for a quick look)"
	@echo "make soak    kill, crash and race syncs for some minutes (KILLS=1000 for longer)"
	@echo "make clean   remove .venv and caches; the demo's data stays"

demo: $(READY)
	$(BIN)/pgflow demo

test: $(READY)
	$(BIN)/pytest $(ARGS)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: $(READY)
	$(BIN)/python -m tests.benchmarks $(if $(SIZE),--size $(SIZE))

soak: $(READY)
	$(BIN)/python -m tests.faults $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))
	PGFLOW_TRIAL_SECONDS=30 PGFLOW_MODEL_STEPS=500 $(BIN)/pytest -q \
	    tests/sync/test_model.py tests/sync/test_watermark_trial.py tests/sync/test_slots_together.py

clean:
	rm -rf $(VENV) .pg15 .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The file is newer than pyproject.toml when everything it asks for is installed.
$(READY): pyproject.toml
	@for python in "$(PYTHON)" $(BIN)/python python3 python3.14 python3.13 python3.12 python3.11; do \
	    if [ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        found=$$python; break; \
	    elif [ -n "$$python" ] && [ "$$python" = "$(PYTHON)" ]; then \
	        echo "PYTHON=$$python is not a Python 3.11 or newer." >&2; exit 1; \
	    fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "No Python 3.11 or newer is on PATH. Install one, or run: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    rm -rf $(VENV); \
	    "$$found" -m venv $(VENV) || { \
	        rm -rf $(VENV); \
	        echo "$$found cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	    }; \
	fi
	@echo "Installing pgflow and what it needs into $(VENV); this takes a minute or two ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,demo,dev]'
	@touch $@
