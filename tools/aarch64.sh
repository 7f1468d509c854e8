#!/bin/sh
# Builds the kernel's own tests for aarch64 and runs them under QEMU, so that its NEON code is run on an x86-64 machine,
# and compiles the binding. `make test-aarch64` calls it, and has filled .venv.
set -eu

compiler=aarch64-linux-gnu-g++
emulator="qemu-aarch64;-L;/usr/aarch64-linux-gnu"
for tool in $compiler qemu-aarch64; do
    if ! command -v $tool >/dev/null; then
        echo "missing: $tool, to run the kernel of another processor" >&2
        echo "   mend: apt install g++-aarch64-linux-gnu qemu-user    (as root, on Debian or Ubuntu)" >&2
        exit 1
    fi
done

.venv/bin/cmake -S . -B build/aarch64 -DMMAP_NINJA_KERNEL_TESTS=ON -DCMAKE_SYSTEM_NAME=Linux \
    -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=$compiler -DCMAKE_CROSSCOMPILING_EMULATOR="$emulator"
.venv/bin/cmake --build build/aarch64 --parallel 2
# QEMU 7 dies where a system call reads a map behind the end of its file, which is how test_mapping finds that end.
echo "== test_mapping is left out: QEMU cannot run it"
.venv/bin/ctest --test-dir build/aarch64 --output-on-failure --no-tests=error --parallel 2 --exclude-regex '^test_mapping$'

# The headers of this machine's Python serve: both processors have the same sizes of types.
echo "== compiling the binding for aarch64, without linking it"
include=$(.venv/bin/python -c "import nanobind, numpy, sysconfig
print('-isystem', nanobind.include_dir(), '-isystem', numpy.get_include(), '-isystem', sysconfig.get_path('include'))")
for source in kernel/python/*.cc; do
    # shellcheck disable=SC2086 # one word an option
    $compiler -std=c++20 -march=armv8-a+crc -fvisibility=hidden -fsyntax-only -I kernel $include "$source"
done
