PYTHON ?= python3
SECONDS ?= 60
# What to install beside the package. Tests of what is not installed are skipped, with the reason.
EXTRAS ?= dev

BIN := .venv/bin
READY := .venv/.ready-$(EXTRAS)
CXX_SOURCES := $(wildcard kernels/*.cpp kernels/*.h kernels/*.cu kernels/*.cuh fusion_rt/*/*.cpp fusion_rt/*/native/*)

.PHONY: demo test setup lint types format docs bench package clean

demo: setup  ## the whole rig, simulated, with a live view
	$(BIN)/fusion-rt demo sim --seconds $(SECONDS)

test: lint types  ## all checks
	$(BIN)/pytest

setup: $(READY)  ## a virtual environment with everything; no network needed once it stands

# Installed without build isolation, so that a rebuild after an edit needs no network.
$(READY): pyproject.toml CMakeLists.txt $(CXX_SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet "scikit-build-core>=1.0" "nanobind>=2.4" cmake ninja
	$(BIN)/pip install --quiet --no-build-isolation --editable ".[$(EXTRAS)]"
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)

types: setup
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_SOURCES)

docs: setup  ## the pages and the schema that are made from the code
	$(BIN)/python docs/generate_messages.py
	$(BIN)/fusion-rt check --schema > docs/rig.schema.json

bench: setup  ## ours beside whatever else is installed: ratios, in minutes
	$(BIN)/python benchmarks/transport.py --quick
	$(BIN)/python -m benchmarks.sync --seeds 1
	$(BIN)/python -m benchmarks.kernels
	$(BIN)/python -m benchmarks.engines

package: setup  ## wheel and sdist, checked in a bare virtual environment
	.ci/package

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
