#!/bin/sh
# Runs the kernel's own tests, and the tests of mmap_ninja that read the most damage, under the address and
# undefined-behaviour sanitizers. Usage: CXX=g++ sanitize.sh JOBS, by `make sanitize`, which has filled .venv.
set -eu

jobs=$1
tests="tests/maintenance/test_verifying.py tests/threats/test_bit_flips.py tests/threats/corruption tests/threats/test_fuzz.py"

.venv/bin/cmake -S . -B build/sanitize -DMMAP_NINJA_KERNEL_TESTS=ON -DMMAP_NINJA_SANITIZE=ON
.venv/bin/cmake --build build/sanitize --parallel 2
.venv/bin/ctest --test-dir build/sanitize --output-on-failure --no-tests=error

# The kernel must find the sanitizer's allocator in its Python from the start, so Python is started with it.
asan=$($CXX -print-file-name=libasan.so)
if ! [ -f "$asan" ]; then
    echo "== tests with Python are left out: $CXX has no libasan.so to load into it (GCC on Linux has)"
    exit 0
fi
echo "== building mmap_ninja for ASan and UBSan"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target build/sanitize-python \
    --config-settings=cmake.define.MMAP_NINJA_SANITIZE=ON --config-settings=build-dir=build/sanitize-module .
export PYTHONPATH=build/sanitize-python ASAN_OPTIONS=detect_leaks=0
export LD_PRELOAD="$asan $($CXX -print-file-name=libstdc++.so)"
.venv/bin/python -c "import mmap_ninja, sys; sys.exit('sanitize-python' not in mmap_ninja.__file__)"
# shellcheck disable=SC2086 # one word a file
.venv/bin/python -m pytest -n "$jobs" $tests
