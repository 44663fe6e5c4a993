# The verbs of this project. Each makes and reuses .venv by itself; only Python 3.11+ and make are needed.
PYTHON ?= $(shell tools/choose-python)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SECONDS_EACH ?= 20
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: run test interop check docs bench fuzz format lock clean

run: $(READY)  ## start the miniature Internet
	$(BIN)/letterlock lab

test: $(READY)  ## every test that needs no other program
	$(BIN)/pytest -n $(WORKERS)

interop: $(READY)  ## tests against real programs; installs them when root
	tools/install-interop-programs
	$(BIN)/pytest -n $(WORKERS) -m "interop and not slow" tests/interop tests/faults

check: $(READY)  ## style, types, import contracts, references, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_rfc_references.py
	$(BIN)/python tools/write_docs.py --check

docs: $(READY)  ## write the pages that follow from the code
	$(BIN)/python tools/write_docs.py

bench: $(READY)  ## measurements beside peers
	$(BIN)/python -m bench

fuzz: $(READY)  ## time-boxed fuzzing of every parser
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tools/fuzz-requirements.lock
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS_EACH)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# --clear: what an interrupted run left behind would stay broken.
$(READY): requirements.lock
	@echo "Making $(VENV) and installing into it what requirements.lock names: once, for half a minute or so."
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

lock:  ## renew requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --group dev --upgrade pyproject.toml tools/build-requirements.in -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --group fuzz --upgrade -o tools/fuzz-requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
