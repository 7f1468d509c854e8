#!/bin/sh
# Runs each fuzz target for a while, from the saved inputs of fuzz/corpus on. What crashes it is left in build/fuzz.
# Usage: CXX=clang++ fuzz.sh SECONDS, by `make fuzz`, which has filled .venv.
set -eu

seconds=$1

if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
    $CXX -x c++ -fsanitize=fuzzer,address,undefined -o /dev/null - 2>/dev/null; then
    echo "missing: clang with libFuzzer ($CXX)" >&2
    echo "   mend: apt install clang libclang-rt-dev, dnf install clang compiler-rt, or brew install llvm;" >&2
    echo "         where PATH does not lead to it: make fuzz FUZZ_CXX=/path/to/clang++" >&2
    exit 1
fi
.venv/bin/cmake -S . -B build/fuzz -DMMAP_NINJA_KERNEL_TESTS=ON -DMMAP_NINJA_SANITIZE=ON -DCMAKE_CXX_COMPILER="$CXX"
.venv/bin/cmake --build build/fuzz --parallel 2
saved=build/fuzz/kernel/tests/corpus
.venv/bin/python -m zipfile -e fuzz/corpus/fuzz_open.zip $saved/fuzz_open

# fuzz NAME COMMAND: new inputs that reach new code are kept in build/fuzz/NAME-corpus.
fuzz() {
    name=$1
    shift
    echo "== $name for $seconds s"
    mkdir -p "build/fuzz/$name-corpus"
    "$@" -max_total_time="$seconds" -artifact_prefix=build/fuzz/ -verbosity=0 -print_final_stats=1 \
        "build/fuzz/$name-corpus" "$saved/$name"
}

for source in kernel/tests/fuzz_*.cc; do
    name=$(basename "$source" .cc)
    fuzz "$name" "build/fuzz/kernel/tests/$name"
done
fuzz fuzz_open .venv/bin/python fuzz/fuzz_open.py
