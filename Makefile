# Every recipe of the project; `make help` lists them. Each makes what it needs by itself, in .venv and build.
# GNU make 3.81 (macOS) is enough.

PYTHON ?= python3
DATA ?=
TEST_JOBS ?= 3
FUZZ_SECONDS ?= 60

VENV := .venv
PY := $(VENV)/bin/python
PYTEST = $(PY) -m pytest -n $(TEST_JOBS) --dist worksteal
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check
PIP_FAILED := { echo "make: pip failed, its reason stands above. Where no package index can be reached:"; \
	echo "   mend: connect this machine, or name an index that it reaches: export PIP_INDEX_URL=..."; exit 1; } >&2
PREREQUISITES := @sh tools/prerequisites.sh "$(PYTHON)"

KERNEL_SOURCES := pyproject.toml CMakeLists.txt $(shell find kernel -type f ! -path 'kernel/tests/*')
SOURCES := $(KERNEL_SOURCES) README.md LICENSE $(shell find src -type f ! -path '*/__pycache__/*')
CXX_SOURCES := $(wildcard kernel/*.cc kernel/*.h kernel/*/*.cc kernel/*/*.h)
# Code that users paste. Examples that train are checked by the tests of integrations, with the types of frameworks.
SHOWN := $(filter-out examples/train_%,$(wildcard examples/*.py)) tools/demo.py build/blocks

.DEFAULT_GOAL := help
.NOTPARALLEL: # two pips must not write to one environment
.PHONY: help dev demo docs check-site drawings test test-integrations torture mutation lint format types sanitize \
	test-aarch64 fuzz wheel release clean

help: ## list the recipes
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: $(VENV)/.editable $(VENV)/.group-test $(VENV)/.group-lint ## an editable install: .venv/bin/pytest tests the sources as they are now
	@:

demo: $(VENV)/.installed ## convert a folder of text files, iterate, append: make demo DATA=folder
	@$(PY) tools/demo.py $(if $(DATA),"$(DATA)")

docs: $(VENV)/.installed $(VENV)/.group-docs ## the site, in build/site
	@rm -rf build/site
	$(PY) -m sphinx --fresh-env --fail-on-warning --keep-going --quiet -d build/doctrees docs build/site

check-site: docs $(VENV)/.group-test $(VENV)/.group-site ## the site in a Chromium: can all read it, do links and search work, is nothing loaded
	$(PY) -m pytest -n $(TEST_JOBS) tests/site

drawings: ## docs/drawings/*.svg, from the .txt files beside them
	$(PYTHON) tools/drawings.py

test: $(VENV)/.installed $(VENV)/.group-test ## the test suite; TEST_JOBS=3 at a time, ARGS="-k name"
	@# Tests that fork thousands of times have processes of their own: what others import makes each fork slower.
	$(if $(ARGS),,$(PYTEST) tests/threats/enumerated)
	$(PYTEST) $(or $(ARGS),--ignore=tests/threats/enumerated --ignore=tests/integrations --ignore=tests/site)

test-integrations: .venv-integrations/.installed ## PyTorch, JAX, Grain, Hugging Face and others, in an environment of their own
	.venv-integrations/bin/python -m pytest tests/integrations tests/test_docs.py $(ARGS)

torture: $(VENV)/.installed $(VENV)/.group-test ## every crash and power loss that the tests can think of: many minutes
	$(PY) -m pytest -n $(TEST_JOBS) -m torture $(ARGS)

mutation: $(VENV)/.installed $(VENV)/.group-mutation ## what the tests notice of 300 changes to the library: an hour
	$(PY) tools/mutation.py

lint: $(VENV)/.group-lint ## style and spelling, changes nothing
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(VENV)/bin/codespell
	$(if $(CXX_SOURCES),$(VENV)/bin/clang-format --dry-run -Werror $(CXX_SOURCES))

format: $(VENV)/.group-lint ## mend what lint can mend by itself
	$(PY) -m ruff check --fix
	$(PY) -m ruff format
	$(if $(CXX_SOURCES),$(VENV)/bin/clang-format -i $(CXX_SOURCES))

types: $(VENV)/.group-lint $(VENV)/.group-test ## mypy --strict and pyright on src, examples, and the blocks of README and docs
	$(PY) -m mypy
	$(VENV)/bin/pyright --pythonpath $(PY)
	$(PY) tools/blocks.py build/blocks
	$(PY) -m mypy src $(SHOWN)
	$(VENV)/bin/pyright --pythonpath $(PY) $(SHOWN)
	@# Without integrations, whose types are those of frameworks that are not installed here.
	rm -rf build/typed && mkdir -p build/typed && cp -R src/mmap_ninja build/typed && rm -r build/typed/mmap_ninja/integrations
	PYTHONPATH=build/typed $(VENV)/bin/pyright --pythonpath $(PY) --verifytypes mmap_ninja --ignoreexternal

sanitize: $(VENV)/.installed $(VENV)/.group-dev $(VENV)/.group-test ## the kernel's tests, and those of damage, under ASan and UBSan
	@CXX="$(CXX)" sh tools/sanitize.sh $(TEST_JOBS)

test-aarch64: $(VENV)/.group-dev ## the kernel's tests for ARM under QEMU, on Debian and Ubuntu
	@sh tools/aarch64.sh

FUZZ_CXX ?= clang++
fuzz: $(VENV)/.installed $(VENV)/.group-dev $(VENV)/.group-fuzz ## the fuzz targets, each for FUZZ_SECONDS=60, with clang
	@CXX="$(FUZZ_CXX)" sh tools/fuzz.sh $(FUZZ_SECONDS)

wheel: $(VENV)/.group-wheel ## an sdist, and a wheel built from it, into dist
	$(PREREQUISITES)
	$(PY) -m build

release: $(VENV)/.group-release ## a wheel and an sdist, checked and tried, not uploaded; ARGS="-k name": fewer tests
	$(PREREQUISITES)
	$(PY) tools/release.py $(if $(ARGS),--tests="$(ARGS)")

clean: ## remove all that the recipes made
	rm -rf .venv .venv-* build dist demo_mmap .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

-include benchmarks/bench.mk

# Stamps: what is installed into .venv, and when. An edited source is built and installed again. The package is there
# either as users install it (.installed) or as a link to the sources (.editable): each replaces the other.

$(VENV)/.pip:
	$(PREREQUISITES)
	@echo "== making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv --clear $(VENV)
	@$(PIP_INSTALL) "pip>=25.1" || $(PIP_FAILED) # the first that knows dependency groups
	@touch $@

$(VENV)/.installed: $(VENV)/.pip $(SOURCES)
	$(PREREQUISITES)
	@echo "== building and installing mmap_ninja"
	@rm -f $(VENV)/.editable
	@$(PIP_INSTALL) . || $(PIP_FAILED)
	@touch $@

# Without build isolation, so that the build folder stays valid and only what changed is compiled.
$(VENV)/.editable: $(VENV)/.group-dev $(KERNEL_SOURCES)
	$(PREREQUISITES)
	@echo "== building the kernel, and installing mmap_ninja as a link to src"
	@rm -f $(VENV)/.installed
	@$(PIP_INSTALL) --no-build-isolation --config-settings=build-dir='build/dev-{wheel_tag}' --editable . || $(PIP_FAILED)
	@touch $@

# An index with CPU builds of torch, where the usual one has them only with several GB of CUDA.
TORCH_INDEX ?=
.venv-integrations/.installed: $(SOURCES)
	$(PREREQUISITES)
	@echo "== building and installing mmap_ninja, and the frameworks, into $(@D)"
	@test -x $(@D)/bin/pip || "$(PYTHON)" -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check "pip>=25.1" || $(PIP_FAILED)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check . --group integrations \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) || $(PIP_FAILED)
	@touch $@

$(VENV)/.group-%: $(VENV)/.pip pyproject.toml
	@echo "== installing the dependency group $*"
	@$(PIP_INSTALL) --group $* || $(PIP_FAILED)
	@touch $@
