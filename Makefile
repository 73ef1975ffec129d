# Every target sets up what it needs in .venv, from the lock files, and works twice in a row.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-package torch --override requirements/no-torch.txt
# The tests of one file are in one process, as they share what they start. Some of them wait, for
# programs or a clock: hence a process more than there are cores.
WORKERS := --numprocesses $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --maxprocesses 8 \
	--dist loadscope
# These wait, for leases and restarts, more than they compute.
FAULT_WORKERS := --numprocesses 4 --dist worksteal

.PHONY: demo test lint check fix test-faults mutations fuzz soak test-gpu bench bench-watermark lock clean

demo: $(VENV)/.demo
	$(BIN)/python -m sandbox $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

check: lint test

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-faults: $(VENV)/.dev
	$(BIN)/python -m pytest tests/faults $(FAULT_WORKERS) -m fault $(ARGS)

mutations: $(VENV)/.dev
	$(BIN)/python -m tests.mutations --at-once 2 $(ARGS)

CASES ?= 100000
fuzz: $(VENV)/.dev $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz --cases $(CASES) $(ARGS)

MINUTES ?= 10
SEED ?= 1
soak: $(VENV)/.dev
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED) $(ARGS)

test-gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m gpu $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m bench $(ARGS)

bench-watermark: $(VENV)/.dev
	$(BIN)/python -m bench watermark $(ARGS)

lock: $(VENV)/.dev
	$(PIP) install uv
	$(LOCK) --extra bot pyproject.toml -o requirements/bot.lock
	$(LOCK) --extra engine pyproject.toml requirements/torch-needs.in -o requirements/engine.lock
	$(LOCK) --extra bot --extra engine --extra demo pyproject.toml requirements/torch-needs.in \
		-o requirements/demo.lock
	$(LOCK) --extra bot --extra engine --extra lora --extra demo --extra dev pyproject.toml \
		requirements/torch-needs.in -o requirements/dev.lock
	$(LOCK) --extra fuzz pyproject.toml -o requirements/fuzz.lock

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A stamp is younger than all that it stands for; pip finds most of it installed the second time.
# A lock file is complete without torch, which some of what it names asks for: hence --no-deps.
$(VENV)/.%: requirements/%.lock requirements/torch.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Ovid needs Python 3.11 or later: name one with make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what requirements/$*.lock names into $(VENV)"
	$(PIP) install --require-hashes --no-deps --requirement requirements/$*.lock
	$(PIP) install --requirement requirements/torch.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@
