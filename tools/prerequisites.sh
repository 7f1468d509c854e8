#!/bin/sh
# Names each thing that this machine lacks to build mmap_ninja, with the command that mends it.
# Usage: prerequisites.sh [PYTHON]. Exit status 1 if anything is missing. Changes nothing.

python=${1:-python3}
missing=0

# The command that installs a package here: Debian's name, Fedora's name, macOS's whole command.
package() {
    if [ "$(uname -s)" = Darwin ]; then
        echo "$3"
    elif command -v apt-get >/dev/null 2>&1; then
        echo "apt install $1    (as root)"
    elif command -v dnf >/dev/null 2>&1; then
        echo "dnf install $2    (as root)"
    else
        echo "install what Debian calls $1"
    fi
}

lack() {
    printf 'missing: %s\n   mend: %s\n' "$1" "$2" >&2
    missing=1
}

case "$(uname -s)" in
Linux | Darwin) ;;
*) lack "Linux or macOS (this is $(uname -s), which 1.0 does not support)" "use WSL, a container or another machine" ;;
esac

if ! command -v "$python" >/dev/null 2>&1; then
    lack "Python 3.11 or newer (there is no $python)" \
        "$(package 'python3 python3-venv python3-dev' 'python3 python3-devel' 'brew install python'), or name one: make PYTHON=..."
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    lack "Python 3.11 or newer ($python is $("$python" --version 2>&1))" "name a newer one: make PYTHON=python3.12"
else
    release=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        lack "the venv and ensurepip modules of $python" \
            "$(package "python$release-venv" "python$release" 'brew reinstall python')"
    fi
    headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    if ! [ -f "$headers/Python.h" ]; then
        lack "the headers of $python ($headers/Python.h)" \
            "$(package "python$release-dev" "python$release-devel" 'brew reinstall python')"
    fi
fi

# The first that exists is the one that CMake takes as well.
compiler=${CXX:-}
for candidate in c++ g++ clang++; do
    if [ -z "$compiler" ] && command -v $candidate >/dev/null 2>&1; then
        compiler=$candidate
    fi
done
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/probe.cc" <<'END'
#include <bit>
#include <concepts>
#include <span>
int main() { return std::popcount(std::span<int>().size()); }
END
# $compiler is not quoted: CXX may hold arguments, such as "ccache g++".
if [ -z "$compiler" ]; then
    lack "a C++ compiler" "$(package g++ gcc-c++ 'xcode-select --install')"
elif ! $compiler -std=c++20 -o "$scratch/probe" "$scratch/probe.cc" >"$scratch/log" 2>&1; then
    lack "a C++20 compiler that works ($compiler does not: $(head -n 1 "$scratch/log"))" \
        "$(package 'g++, version 11 or newer' 'gcc-c++, version 11 or newer' 'xcode-select --install')"
fi

exit $missing
