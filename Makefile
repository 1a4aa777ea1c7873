# Everything a developer or a user runs. `make demo` and `make test` set up what is missing, and need
# no network once that is done.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# More files at once than cores, as most tests wait for processes; one at a time with `TOGETHER=`. Those of
# one file share what they started. They are handed out in the order of tests/conftest.py.
TOGETHER ?= -n 4 --dist loadfile --no-loadscope-reorder
COMPILED_TESTS := tests/unit/interceptor $(wildcard tests/rpc/test_interceptor_*.py)
FLOOR_TESTS := tests/rpc $(addprefix tests/unit/,runtime sdk llm interceptor)

.PHONY: demo test test-floor test-compiled compile check format protos lint-protos lock setup clean

demo: $(STAMP)
	@$(BIN)/python -m examples.intents.demo

test: check
	$(BIN)/python -m pytest -q $(TOGETHER)

test-floor: $(STAMP)
	scripts/floor.sh $(TOGETHER) $(FLOOR_TESTS)

# The interceptor's sources are what runs, unless PYTHONPATH names the compiled copy.
compile: $(STAMP)
	$(BIN)/python scripts/compile_interceptor.py

test-compiled: compile
	PYTHONPATH=$(CURDIR)/.compiled BURNISH_TEST_COMPILED=1 $(BIN)/python -m pytest -q $(TOGETHER) $(COMPILED_TESTS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos:
	$(PYTHON) scripts/gen_protos.py

lint-protos:
	scripts/lint_protos.sh

lock:
	scripts/lock.sh

setup: $(STAMP)

# The stamp holds what was installed, so that a checkout that only touches files costs nothing.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@cat $^ | cksum | cmp -s - $@ || \
	    $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@cat $^ | cksum > $@

clean:
	rm -rf $(VENV) .venv-* .compiled dist .burnish .pytest_cache .mypy_cache .ruff_cache
