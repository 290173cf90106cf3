# Two commands: `make demo` and `make test`. A third, `make bench`, measures. Each sets up .venv from the lock first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCK ?= requirements.lock
WORKERS ?= 2
READY := $(VENV)/.ready-$(notdir $(LOCK))
RESOLVE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
	--custom-compile-command "make lock"
COMPILE := $(RESOLVE) pyproject.toml --all-extras --group dev --group bench
IMAGES := deployments/images

.PHONY: help setup demo test system lint unit mutants bench lock clean

help:
	@echo "make demo   run the whole loop on real flights data"
	@echo "make test   lint, types and all tests"
	@echo "make system the tests that start the whole deployed system (minutes each)"
	@echo "make mutants  changes of the rules' code that no test notices (ten minutes)"
	@echo "make bench  the benchmarks, each beside its peer"
	@echo "make lock   resolve the dependencies again, for CPU and GPU"

setup: $(READY)

$(READY): $(LOCK) pyproject.toml
	@echo "Setting up $(VENV) from $(LOCK) (once; a few minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Penstock needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $(LOCK)
	@$(BIN)/python -m pip uninstall --quiet --yes penstock 2> /dev/null || true  # this project's former name
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	@$(BIN)/penstock demo $(ARGS)

# Files in their order, unit tests last: reordered, the files of few and long tests come last, and one worker waits for the other.
test: lint
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

system: $(READY)
	@$(BIN)/python -m pytest -m system $(ARGS)

unit: $(READY)
	@$(BIN)/python -m pytest tests/unit $(ARGS)

mutants: $(READY)
	@$(BIN)/python -m tests.mutation $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY)
	@$(BIN)/python -m tests.benches $(ARGS)

# The CPU lock leaves out the CUDA collectives that xgboost's Linux wheel asks for; the GPU lock keeps them: it is resolved
# without pyproject.toml's [tool.uv]. The images' lock holds what runs in a worker or a server, and nothing of what builds or
# tests it.
lock:
	@printf 'nvidia-nccl-cu%s ; sys_platform == "never"\n' 12 13 | $(COMPILE) --override /dev/stdin --output-file requirements.lock
	@$(COMPILE) --no-config --output-file requirements-gpu.lock
	@printf 'nvidia-nccl-cu%s ; sys_platform == "never"\n' 12 13 | $(RESOLVE) pyproject.toml --extra demo --extra search \
		--extra dask --extra serve --extra postgres --extra up --extra excel --extra delta --extra iceberg --extra duckdb \
		--constraint requirements.lock --override /dev/stdin \
		--output-file $(IMAGES)/requirements.lock
	@$(RESOLVE) $(IMAGES)/build.in --output-file $(IMAGES)/build.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
