"""What is released is checked before, and each check can fail: it names what was wrong with a wheel or an sdist."""

import dataclasses
import io
import runpy
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmap_ninja import _kernel
from support.pages import run_page

ROOT = Path(__file__).parent.parent
tool = runpy.run_path(str(ROOT / "tools" / "release.py"))
VERSION = tool["PROJECT"]["version"]
INFO = f"mmap_ninja-{VERSION}.dist-info"
KERNEL = "mmap_ninja/_kernel.cpython-311-x86_64-linux-gnu.so"
NAME = f"mmap_ninja-{VERSION}-cp311-cp311-manylinux_2_99_x86_64.whl"
README = "# Title\n\n[docs](https://example.org/docs)\n\n| a |\n|---|\n| 1 |\n\n```sh\nls\n```\n\n![plot](https://example.org/a.svg)\n"

needs_elf = pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel as ELF")


def contents():
    """The files of a wheel that is right."""
    modules = {str(file.relative_to(ROOT / "src")): file.read_bytes() for file in (ROOT / "src").rglob("*.py*")}
    return {name: data for name, data in modules.items() if "__pycache__" not in name} | {
        "mmap_ninja/py.typed": b"",
        KERNEL: Path(_kernel.__file__).read_bytes(),
        f"{INFO}/METADATA": f"Metadata-Version: 2.4\nVersion: {VERSION}\nLicense-Expression: MIT\n\n{README}".encode(),
        f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_99_x86_64\n",
        f"{INFO}/RECORD": b"",
        f"{INFO}/entry_points.txt": b"[console_scripts]\nmmap-ninja = mmap_ninja.__main__:main\n",
        f"{INFO}/licenses/LICENSE": b"MIT",
    }


def wheel_problems(folder, files, name=NAME):
    with zipfile.ZipFile(folder / name, "w") as archive:
        for file, data in files.items():
            archive.writestr(file, data)
    return list(tool["wheel_problems"](folder / name))


def changed(name, old, new):
    return lambda files: files | {name: files[name].replace(old.encode(), new.encode())}


def without(name):
    return lambda files: {file: data for file, data in files.items() if file != name}


def added(name):
    return lambda files: files | {name: b""}


WRONG_WHEELS = {
    "a test": (added("tests/test_a.py"), "holds tests/test_a.py"),
    "bytecode": (added("mmap_ninja/__pycache__/a.pyc"), "holds mmap_ninja/__pycache__/a.pyc"),
    "a library": (added("mmap_ninja.libs/libzstd.so.1"), "holds mmap_ninja.libs/libzstd.so.1"),
    "data": (added("mmap_ninja/reviews.txt"), "holds mmap_ninja/reviews.txt"),
    "a second kernel": (added("mmap_ninja/_kernel.abi3.so"), "holds mmap_ninja/_kernel"),
    "no kernel": (without(KERNEL), "lacks the kernel"),
    "no module": (without("mmap_ninja/string.py"), "lacks mmap_ninja/string.py"),
    "no stub": (without("mmap_ninja/_kernel.pyi"), "lacks mmap_ninja/_kernel.pyi"),
    "no types": (without("mmap_ninja/py.typed"), "lacks mmap_ninja/py.typed"),
    "no licence": (without(f"{INFO}/licenses/LICENSE"), f"lacks {INFO}/licenses/LICENSE"),
    "another version": (changed(f"{INFO}/METADATA", VERSION, "0.9"), "its version is 0.9"),
    "another licence": (changed(f"{INFO}/METADATA", "MIT", "Zlib"), "does not say that its licence is MIT"),
    "no command": (changed(f"{INFO}/entry_points.txt", "mmap-ninja", "mmap"), "has no command mmap-ninja"),
    "another tag": (changed(f"{INFO}/WHEEL", "cp311-manylinux", "none-manylinux"), "is tagged cp311-none-"),
    "a README of GitHub": (changed(f"{INFO}/METADATA", "https://example.org/", ""), "the link docs is not absolute"),
}


@needs_elf
def test_wheel_that_is_right_has_no_problems(tmp_path, capsys):
    assert wheel_problems(tmp_path, contents()) == []
    assert "needs glibc 2." in capsys.readouterr().out


@needs_elf
@pytest.mark.parametrize("wrong", WRONG_WHEELS)
def test_wheel_with_something_wrong_is_refused(wrong, tmp_path):
    change, message = WRONG_WHEELS[wrong]

    problems = wheel_problems(tmp_path, change(contents()))

    assert any(message in problem for problem in problems), problems


@needs_elf
@pytest.mark.parametrize("platform", ["linux_x86_64", "musllinux_1_2_x86_64"])
def test_wheel_for_one_machine_is_refused(platform, tmp_path):
    files = changed(f"{INFO}/WHEEL", "manylinux_2_99_x86_64", platform)(contents())

    problems = wheel_problems(tmp_path, files, NAME.replace("manylinux_2_99_x86_64", platform))

    assert [problem.partition(": ")[2] for problem in problems] == ["is not for manylinux or macOS"]


@needs_elf
def test_kernel_that_needs_a_newer_glibc_than_its_wheel_says_is_refused(tmp_path):
    files = changed(f"{INFO}/WHEEL", "2_99", "2_5")(contents())

    (problem,) = wheel_problems(tmp_path, files, NAME.replace("2_99", "2_5"))

    assert "the kernel needs glibc (2, " in problem


@needs_elf
def test_kernel_exports_its_entry_alone_and_needs_no_more_than_it_may():
    with Path(_kernel.__file__).open("rb") as binary:
        linked = tool["Linked"].of(binary)

    assert linked.exports == {"PyInit__kernel"}
    assert list(linked.problems((2, 99))) == []
    assert {"PyList_New", "_Py_Dealloc"} <= linked.imports


LINKED = tool["Linked"](
    frozenset({"PyInit__kernel"}), frozenset({"_Py_Dealloc", "mmap@GLIBC_2.2.5"}), frozenset({"libc.so.6"})
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exports": {"PyInit__kernel", "crc32c"}}, "the kernel exports crc32c"),
        ({"exports": set()}, "the kernel does not export PyInit__kernel"),
        ({"libraries": {"libpython3.11.so.1.0"}}, "the kernel needs libpython3.11.so.1.0"),
        ({"imports": {"_PyLong_New"}}, "the kernel uses _PyLong_New, which may go with any release of Python"),
        ({"imports": {"stat@GLIBC_2.33"}}, "the kernel needs glibc (2, 33), but the wheel says (2, 28), for stat"),
    ],
)
def test_kernel_that_is_linked_otherwise_is_refused(change, message):
    assert list(LINKED.problems((2, 28))) == []
    assert list(dataclasses.replace(LINKED, **change).problems((2, 28))) == [message]


@needs_elf
def test_extension_of_another_library_is_no_kernel():
    with Path(np._core._multiarray_umath.__file__).open("rb") as binary:
        problems = list(tool["Linked"].of(binary).problems((2, 99)))

    assert "the kernel does not export PyInit__kernel" in problems
    assert any("openblas" in problem for problem in problems)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: names | {"tests/test_a.py"}, "holds mmap_ninja-{}/tests/test_a.py"),
        (lambda names: names | {"kernel/tests/test_log.cc"}, "holds mmap_ninja-{}/kernel/tests/test_log.cc"),
        (lambda names: names - {"LICENSE"}, "lacks mmap_ninja-{}/LICENSE"),
        (lambda names: names - {"kernel/log.cc"}, "lacks mmap_ninja-{}/kernel/log.cc"),
    ],
)
def test_sdist_with_something_wrong_is_refused(change, message, tmp_path):
    names = {str(file.relative_to(ROOT)) for pattern in tool["SDIST"] for file in ROOT.glob(pattern)} | {"PKG-INFO"}

    def problems_of(names):
        path = tmp_path / f"mmap_ninja-{VERSION}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(f"mmap_ninja-{VERSION}/{name}"), io.BytesIO())
        return list(tool["sdist_problems"](path))

    assert problems_of(names) == []
    assert any(message.format(VERSION) in problem for problem in problems_of(change(names)))


def test_sdist_of_another_version_is_refused(tmp_path):
    path = tmp_path / "mmap_ninja-0.9.tar.gz"
    tarfile.open(path, "w:gz").close()

    assert f"expected mmap_ninja-{VERSION}.tar.gz" in next(tool["sdist_problems"](path))


def test_newest_version_of_the_changelog_is_that_of_the_project():
    assert list(tool["version_problems"](VERSION, (ROOT / "CHANGELOG.md").read_text())) == []


@pytest.mark.parametrize(
    ("version", "changelog", "message"),
    [
        ("1.0.1", "## [1.0.0] - 2026-11-29\n", "the newest version is 1.0.0, but pyproject.toml says 1.0.1"),
        ("1.0.1", "# Changelog\n", "the newest version is None"),
        ("1.0.1", "## [1.0.1] - Unreleased\n\n## [1.0.0] - 2026-11-29\n", "needs the date of its release"),
    ],
)
def test_changelog_of_another_version_is_refused(version, changelog, message):
    assert message in next(tool["version_problems"](version, changelog))


def test_version_in_development_needs_no_date():
    assert list(tool["version_problems"]("1.1.0.dev0", "## [1.1.0.dev0] - Unreleased\n")) == []


def test_readme_is_shown_whole_by_a_package_index():
    assert list(tool["readme_problems"]((ROOT / "README.md").read_text())) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[docs](https://example.org/docs)", "[docs](docs/index.md)", "the link docs/index.md is not absolute"),
        ("![plot](https://example.org/a.svg)", "![plot](a.svg)", "the link a.svg is not absolute"),
        (
            "![plot](https://example.org/a.svg)",
            "    ![plot](https://example.org/a.svg)",
            "has 1 images, but 0 are shown",
        ),
        ("|---|", "|---|---|", "has 1 tables, but 0 are shown"),
    ],
)
def test_readme_that_loses_something_on_a_package_index_is_refused(old, new, message):
    assert list(tool["readme_problems"](README)) == []
    assert any(message in problem for problem in tool["readme_problems"](README.replace(old, new)))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (NAME, {"tag": "v0.9"}, f"the tag is v0.9, but pyproject.toml says {VERSION}"),
        (NAME, {"glibc": (2, 28)}, "is for newer systems than those with glibc (2, 28)"),
    ],
)
@needs_elf
def test_files_that_must_not_be_uploaded_end_the_check(name, options, message, tmp_path):
    wheel_problems(tmp_path, contents(), name)

    with pytest.raises(SystemExit) as ended:
        tool["check"]([tmp_path / name], **options)

    assert message in str(ended.value)


def test_page_is_followed_from_its_install_on_without_what_needs_a_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\npip() { touch installed; }\npip install mmap_ninja\n```\n\n```sh\ntouch made\nmake demo\n```\n"
    )

    run_page(page)
    assert not Path("installed").exists()

    run_page(page, installs=True)
    assert Path("installed").exists()
    assert not Path("made").exists()
