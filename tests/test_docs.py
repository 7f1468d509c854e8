"""Every example in a docstring and every Python block of the README runs and prints what it says."""

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from pathlib import Path

import pytest

import mmap_ninja

ROOT = Path(__file__).parents[1]
MODULES = [module.name for module in pkgutil.iter_modules(mmap_ninja.__path__) if module.name != "_kernel"]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    results = doctest.testmod(importlib.import_module(f"mmap_ninja.{name}"))

    assert results.failed == 0


CLASSES = [
    "StringsMmap",
    "BytesMmap",
    "ArrayMmap",
    "RaggedMmap",
    "RecordsMmap",
    "Wrapped",
    "Concat",
    "Text",
    "Bytes",
    "Json",
    "Scalar",
    "Array",
    "Ragged",
]


@pytest.mark.parametrize("class_name", CLASSES)
def test_public_classes_have_an_example(class_name):
    assert ">>> " in getattr(mmap_ninja, class_name).__doc__


def test_public_names_have_docstrings():
    for name in mmap_ninja.__all__:
        public = getattr(mmap_ninja, name)
        assert public.__doc__, name
        if isinstance(public, type):
            for member in vars(public).values():
                assert not callable(member) or member.__name__.startswith("_") or member.__doc__, member


def test_readme_blocks_run_and_print_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    for number in range(3):
        (tmp_path / "reviews" / f"{number}.txt").write_text(f"review {number}")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    namespace = {}

    for block in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102 - our own page
        # "print(x)  # y" says that y is printed
        said = re.findall(r"^\s*print\(.*\)  # (.*)$", block, re.MULTILINE)
        assert printed.getvalue().splitlines() == said

    assert len(blocks) >= 3


def test_links_of_the_pages_lead_somewhere():
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_promise_names_a_test_that_is_there():
    defined = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        defined |= set(re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE))
    rows = re.findall(r"^\| .* \|$", (ROOT / "docs" / "guarantees.md").read_text(), re.MULTILINE)
    promises = [row for row in rows if not row.endswith("| test |")]

    assert len(promises) > 20
    for promise in promises:
        named = re.findall(r"`(test_\w+)`", promise.rsplit(" | ", 1)[1])
        assert named, promise
        assert set(named) <= defined, promise
