# The benchmarks' recipes, included by the top Makefile. DATA=folder measures another folder of text files, PHOTOS=folder
# another one of JPEG files, ONLY="arrays ours" a part, QUICK=1 a tenth of the samples once.

BENCH_PYTHON ?= $(if $(PYTHON),$(PYTHON),python3)
BENCH_TORCH = $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch==2.13.0 torchvision==0.28.0
# The libzstd in it does the work on both sides: keep it the same as in requirements-upstream.txt.
BENCH_ZSTD := zstandard==0.25.0
BENCH_INSTALL = $(@D)/bin/python -m pip install --quiet --disable-pip-version-check
BENCH_SOURCES := pyproject.toml CMakeLists.txt $(shell find src kernel -type f ! -path '*/__pycache__/*' 2>/dev/null)
# Reviews and photos, beside the project on some machines; generated ones are measured elsewhere.
ARCHIVES ?= ../shared/data
UNPACKED := $(patsubst $(ARCHIVES)/%,build/bench/%.d,$(wildcard $(ARCHIVES)/aclImdb.tar.xz $(ARCHIVES)/photos100.tar))
BENCH_DATA := $(or $(DATA),$(addsuffix /aclImdb,$(filter %/aclImdb.tar.xz.d,$(UNPACKED))))
BENCH_PHOTOS := $(or $(PHOTOS),$(filter %/photos100.tar.d,$(UNPACKED)))

.PHONY: bench bench-clean features

bench: .venv-bench/.ours .venv-bench/.peers .venv-bench-upstream/.peers .venv-bench-mds/.peers $(UNPACKED) ## all systems, about 35 minutes; or ONLY="arrays ours", QUICK=1
	.venv-bench/bin/python benchmarks/bench.py $(ONLY) $(if $(QUICK),--scale 0.1 --rounds 1) \
		$(if $(BENCH_DATA),--data "$(BENCH_DATA)") $(if $(BENCH_PHOTOS),--photos "$(BENCH_PHOTOS)")
	.venv-bench/bin/python benchmarks/readme.py

# FFCV takes part where its headers are: Debian's libopencv-dev, libturbojpeg0-dev and pkg-config.
FFCV := $(if $(shell pkg-config --exists opencv4 libturbojpeg 2>/dev/null && echo yes),.venv-bench-ffcv/.peers)

features: .venv-bench/.ours .venv-bench/.peers .venv-bench-mds/.peers $(FFCV) ## what we and others can do, about 6 minutes; or ONLY="ours kill"
	.venv-bench/bin/python benchmarks/compare.py $(ONLY)
	.venv-bench/bin/python benchmarks/readme.py

bench-clean: ## the benchmark environments, the unpacked data and the results
	rm -rf .venv-bench .venv-bench-upstream .venv-bench-mds .venv-bench-ffcv build/bench

build/bench/%.d: $(ARCHIVES)/%
	@rm -rf $@ $@.part && mkdir -p $@.part
	tar -xf $< -C $@.part
	@mv $@.part $@ && touch $@

.venv-bench/.python .venv-bench-upstream/.python .venv-bench-mds/.python .venv-bench-ffcv/.python:
	@"$(BENCH_PYTHON)" -m venv --clear $(@D)
	@touch $@

.venv-bench/.ours: .venv-bench/.python $(BENCH_SOURCES)
	@echo "== building and installing mmap_ninja into $(@D)"
	@$(BENCH_INSTALL) ".[arrow,parallel,zstd]" pillow==13.0.0 $(BENCH_ZSTD)
	@touch $@

# torch first: pip keeps it when a peer asks for any torch.
.venv-bench/.peers: .venv-bench/.python benchmarks/requirements-peers.txt
.venv-bench-mds/.peers: .venv-bench-mds/.python benchmarks/requirements-mds.txt
.venv-bench-upstream/.peers: .venv-bench-upstream/.python benchmarks/requirements-upstream.txt
# Its setup needs neither its requirements nor a GUI of OpenCV, and they would replace NumPy.
.venv-bench-ffcv/.peers: .venv-bench-ffcv/.python benchmarks/requirements-ffcv.txt
	@echo "== building FFCV in $(@D)"
	@$(BENCH_INSTALL) $(BENCH_TORCH) setuptools wheel
	@$(BENCH_INSTALL) -r benchmarks/requirements-ffcv.txt
	@$(BENCH_INSTALL) --no-build-isolation --no-deps ffcv==1.0.2
	@touch $@
.venv-bench/.peers .venv-bench-mds/.peers .venv-bench-upstream/.peers:
	@echo "== installing the peers into $(@D)"
	@$(BENCH_INSTALL) $(BENCH_TORCH)
	@$(BENCH_INSTALL) -r $(filter %.txt,$^)
	@touch $@
