# The benchmarks' recipes, included by the top Makefile. DATA=folder measures another folder of text files,
# PHOTOS=folder another one of JPEG files.

BENCH_ROUNDS ?= 5
# An index with CPU builds of torch, where the usual one has them only with several GB of CUDA.
TORCH_INDEX ?=
BENCH_TORCH := torch==2.13.0 torchvision==0.28.0
BENCH_PYTHON ?= $(if $(PYTHON),$(PYTHON),python3)
# The libzstd in it does the work on both sides: keep it the same as in requirements-upstream.txt.
BENCH_ZSTD := zstandard==0.25.0
BENCH_PIP := -m pip install --quiet --disable-pip-version-check
BENCH_SOURCES := pyproject.toml CMakeLists.txt $(shell find src kernel -type f ! -path '*/__pycache__/*' 2>/dev/null)
BENCH_DATA := $(if $(DATA),--data "$(DATA)")
BENCH_PHOTOS := $(if $(PHOTOS),--photos "$(PHOTOS)")

.PHONY: bench bench-smoke bench-daily bench-clean

bench: .venv-bench/.ours .venv-bench/.peers .venv-bench-upstream/.peers .venv-bench-mds/.peers ## all systems, about 50 minutes; writes benchmarks/RESULTS.md, ARRAYS.md, RECORDS.md
	.venv-bench/bin/python benchmarks/bench_scaling.py
	.venv-bench/bin/python benchmarks/bench_strings.py --rounds $(BENCH_ROUNDS) $(BENCH_DATA)
	.venv-bench/bin/python benchmarks/bench_arrays.py $(BENCH_PHOTOS)
	.venv-bench/bin/python benchmarks/bench_records.py
	.venv-bench/bin/python benchmarks/quote.py

bench-daily: .venv-bench/.ours .venv-bench-upstream/.peers ## ours, upstream, RAM and files only, under 5 minutes
	.venv-bench/bin/python benchmarks/bench_strings.py --quick --systems ours,upstream,ram,files $(BENCH_DATA)
	.venv-bench/bin/python benchmarks/bench_arrays.py --quick $(BENCH_PHOTOS)
	.venv-bench/bin/python benchmarks/bench_records.py --quick

bench-smoke: .venv-bench/.ours ## all scripts on a few samples of our own system
	.venv-bench/bin/python benchmarks/bench_strings.py --data generated --samples 300 --rounds 1 --quick \
		--systems ours,ram,files,pwrite --output build/bench-smoke
	.venv-bench/bin/python benchmarks/bench_scaling.py --sizes 100,1000 --systems ours --output build/bench-smoke
	.venv-bench/bin/python benchmarks/bench_arrays.py --scale 0.002 --quick \
		--systems ours,ram,memmap,processes --output build/bench-smoke
	.venv-bench/bin/python benchmarks/bench_records.py --scale 0.002 --quick --systems ours --output build/bench-smoke

bench-clean: ## the benchmark environments, the unpacked data and the datasets built from it
	rm -rf .venv-bench .venv-bench-upstream .venv-bench-mds benchmarks/.cache

.venv-bench/.python .venv-bench-upstream/.python .venv-bench-mds/.python:
	@"$(BENCH_PYTHON)" -m venv --clear $(@D)
	@touch $@

.venv-bench/.ours: .venv-bench/.python benchmarks/bench.mk $(BENCH_SOURCES)
	@echo "== building and installing mmap_ninja into .venv-bench"
	@.venv-bench/bin/python $(BENCH_PIP) ".[arrow,parallel,zstd]" pillow==13.0.0 $(BENCH_ZSTD)
	@touch $@

# torch first: pip keeps it when a peer asks for any torch.
.venv-bench/.peers: .venv-bench/.python benchmarks/requirements-peers.txt
	@echo "== installing the peers into .venv-bench"
	@.venv-bench/bin/python $(BENCH_PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(BENCH_TORCH)
	@.venv-bench/bin/python $(BENCH_PIP) -r benchmarks/requirements-peers.txt
	@touch $@

.venv-bench-upstream/.peers: .venv-bench-upstream/.python benchmarks/requirements-upstream.txt
	@echo "== installing mmap_ninja 0.9.0 into .venv-bench-upstream"
	@.venv-bench-upstream/bin/python $(BENCH_PIP) -r benchmarks/requirements-upstream.txt
	@touch $@

.venv-bench-mds/.peers: .venv-bench-mds/.python benchmarks/requirements-mds.txt
	@echo "== installing mosaicml-streaming into .venv-bench-mds"
	@.venv-bench-mds/bin/python $(BENCH_PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(BENCH_TORCH)
	@.venv-bench-mds/bin/python $(BENCH_PIP) -r benchmarks/requirements-mds.txt
	@touch $@
