"""Every example in a docstring and every Python block of the README runs and prints what it says."""

import ast
import contextlib
import doctest
import importlib
import io
import re
import tomllib
from pathlib import Path

import pytest

import mmap_ninja

ROOT = Path(__file__).parents[1]
PACKAGE = Path(mmap_ninja.__file__).parent


def docstrings_with_examples():
    """Read from the sources, since doctest skips classes with another `__module__`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            docstring = ast.get_docstring(node) if isinstance(node, ast.ClassDef | ast.FunctionDef) else None
            if docstring and ">>> " in docstring:
                yield pytest.param(module, docstring, node.body[0].lineno, id=f"{module}.{node.name}")


@pytest.mark.parametrize(("module", "docstring", "line"), list(docstrings_with_examples()))
def test_docstring_examples_run(module, docstring, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = dict(vars(importlib.import_module(module)))

    example = doctest.DocTestParser().get_doctest(docstring, names, module, module, line - 1)

    assert doctest.DocTestRunner().run(example).failed == 0


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


def test_readme_blocks_run_and_print_their_comments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    for number in range(3):
        (tmp_path / "reviews" / f"{number}.txt").write_text(f"review {number}")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    namespace = {}

    for block in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102 - our own README
        # "print(x) # y" means that y is printed
        said = re.findall(r"^\s*print\(.*\)  # (.*)$", block, re.MULTILINE)
        assert printed.getvalue().splitlines() == said

    assert len(blocks) >= 3


def links(page):
    """The targets of a page's links, including named ones that are defined once."""
    text = page.read_text()
    return re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)


def test_links_of_the_pages_lead_somewhere():
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in links(page):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_links_of_the_readme_are_absolute_for_an_index_shows_it_too():
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    raw = repository.replace("github.com", "raw.githubusercontent.com")
    text = re.sub(r"```.*?```|`.*?`", "", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    defined = set(re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE))
    used = set(re.findall(r"\]\[([^\]]+)\]|\[([\w/.]+\.md)\](?!:)", text))

    assert {label or name for label, name in used} == defined
    for target in links(ROOT / "README.md"):
        prefix = next(prefix for prefix in (f"{repository}/blob/main/", f"{raw}/main/") if target.startswith(prefix))
        assert (ROOT / target.removeprefix(prefix)).is_file(), target


def test_architecture_names_files_that_are_there_and_all_layers():
    page, drawing = ((ROOT / "docs" / name).read_text() for name in ("architecture.md", "architecture.svg"))
    named = set(re.findall(r"`([\w./]+(?:/|\.(?:cc|h|py|pyi)))`", page))
    drawn = set(re.findall(r"[\w./]+\.(?:cc|h|py)\b", re.sub("<style>.*</style>", "", drawing, flags=re.DOTALL)))

    for name in named | drawn:
        assert any((ROOT / base / name).exists() for base in (".", "src/mmap_ninja", "kernel")), name
    assert {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")} <= named
    assert len(drawn) > 5


def test_every_promise_names_a_test_that_is_there():
    defined = set()
    for file in Path(__file__).parent.rglob("test_*.py"):
        defined |= set(re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE))
    rows = re.findall(r"^\| .* \|$", (ROOT / "docs" / "guarantees.md").read_text(), re.MULTILINE)
    promises = [row for row in rows if not row.endswith("| test |")]

    assert len(promises) > 20
    for promise in promises:
        named = re.findall(r"`(test_\w+)`", promise.rsplit(" | ", 1)[1])
        assert named, promise
        assert set(named) <= defined, promise
