"""What docstrings and pages say is so: examples print it, names and links lead somewhere, figures were measured."""

import ast
import doctest
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

import mmap_ninja
from support.pages import PAGES, ROOT, blocks_of, run_page
from support.public import PACKAGE, members_of, public_classes, public_names

FRAMEWORKS = {"huggingface": "datasets"}  # that modules of `integrations` import, where it has another name


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
    if ".integrations." in module:
        pytest.importorskip(FRAMEWORKS.get(module.rpartition(".")[2], module.rpartition(".")[2]))

    # Without names, so that it can be pasted. "..." is for what differs, such as the folder.
    example = doctest.DocTestParser().get_doctest(docstring, {}, module, module, line - 1)

    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed == 0


SPECIAL = {
    f"mmap_ninja.DatasetHandle.__{name}item__" for name in ("set", "del")
}  # whose docstrings say what they raise


def explained_by(cls):
    """The arguments and attributes that the docstring of a class explains, also as those of its objects."""
    return re.findall(r"^    (\w+): ", inspect.getdoc(cls), re.MULTILINE)


def test_every_public_name_has_an_example():
    missing = [name for name, docstring in public_names().items() if ">>> " not in (docstring or "")]
    for name, cls in public_classes().items():
        for member, definer in members_of(cls):
            if member not in explained_by(cls) and ">>> " not in (vars(definer)[member].__doc__ or ""):
                missing.append(f"{name}.{member}")

    assert missing == []


def shown_in_the_reference():
    """What the directives of the reference name, as often as it is shown; members with their class."""
    shown = []
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        module = ""
        for directive, name, options in re.findall(
            r"^\.\. (\w+):: ([\w.]+).*\n((?:   :.*\n)*)", page.read_text(), re.MULTILINE
        ):
            if directive == "currentmodule":
                module = f"{name}."
            elif directive.startswith("auto"):
                whole = name if name.startswith("mmap_ninja.") else module + name
                members = re.findall(r"\w+", "".join(re.findall(r":members: (.*)", options)))
                shown += [whole, *(f"{whole}.{member}" for member in members)]
    return shown


def test_reference_shows_every_public_name_once():
    shown, members, explained = shown_in_the_reference(), {}, set()
    for name, cls in public_classes().items():
        members |= {f"mmap_ninja.{name}.{member}": vars(definer)[member] for member, definer in members_of(cls)}
        explained |= {f"mmap_ninja.{name}.{field}" for field in explained_by(cls)}

    assert sorted({*shown} - {*members} - SPECIAL) == sorted(public_names())
    assert [name for name in {*shown} if shown.count(name) > 1] == []
    at_hand = [members[name] for name in shown if name in members]  # a member of a base is shown at one class
    assert [name for name in {*members} - explained if not any(members[name] is one for one in at_hand)] == []


def token_files():
    """`pretraining.bin` and `.idx`, as megatron-core 0.16.1 wrote them; the first document has two sequences."""
    Path("pretraining.bin").write_bytes(bytes.fromhex("05000600070008000900010002000300e8fd"))
    Path("pretraining.idx").write_bytes(
        bytes.fromhex(
            "4d4d494449445800000100000000000000080400000000000000050000000000000002000000030000000300000001000000"
            "000000000000000004000000000000000a000000000000001000000000000000"
            "00000000000000000200000000000000030000000000000003000000000000000400000000000000"
        )
    )


def old_dataset():
    """A directory that 0.9.0 wrote."""
    shutil.copytree(ROOT / "tests" / "golden" / "0.9.0-strings", "texts_of_0.9")


NEEDS = {  # the packages without which a page cannot be followed, beside those of the tests
    "docs/guides/huggingface.md": ["datasets"],
    "docs/guides/jax.md": ["grain", "jax", "orbax.checkpoint"],
    "docs/guides/pytorch.md": ["torch", "transformers"],
    "docs/guides/questions.md": ["torch"],
    "docs/moving/from-datasets.md": ["datasets", "torch"],
}
INPUTS = {  # what a page finds in its folder
    "docs/guides/questions.md": token_files,
    "docs/moving/from-0.9.md": old_dataset,
}
WARNS = {
    "docs/guides/jax.md": "default",
    "docs/guides/pytorch.md": "ignore:The given NumPy array is not writable",
    "docs/moving/from-webdataset.md": "ignore:unclosed file",
}
ELSEWHERE = {"docs/guides/frameworks.md"}  # tests/integrations/test_recipes.py: each block needs another package


@pytest.mark.parametrize("page", sorted({*PAGES} - ELSEWHERE))
def test_blocks_of_a_page_run_and_print_what_it_says(page, tmp_path, monkeypatch):
    for package in NEEDS.get(page, []):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    INPUTS.get(page, lambda: None)()

    with warnings.catch_warnings():
        if page in WARNS:  # those of Orbax, PyTorch and WebDataset
            action, _, message = WARNS[page].partition(":")
            warnings.filterwarnings(action, message)
        names = run_page(page)

    if "attention" in names:  # it needs a GPU: a tensor without data only knows whether it is called as it should be
        torch = pytest.importorskip("torch")
        q = torch.empty(16, 4, 64, device="meta", dtype=torch.bfloat16)
        batch = {"cu_seqlens": torch.empty(9, dtype=torch.int32, device="meta"), "max_seqlen": 5}
        assert names["attention"](q, q, q, batch).shape == q.shape


def test_ring_of_the_page_keeps_the_newest_samples_in_bounded_space_and_goes_on_where_it_was(tmp_path):
    names = {}
    exec(blocks_of("docs/guides/replay.md")[0], names)  # noqa: S102 - our own page
    frame = np.zeros((84, 84), np.uint8)

    most = 0
    for first in (0, 500):
        ring = names["Ring"](tmp_path / "ring", 100)
        for number in range(first, first + 500):
            ring.add({"frame": frame, "action": number, "reward": 0.0, "info": None})
            most = max(most, sum(file.stat().st_size for file in (tmp_path / "ring").iterdir()))

    assert ring.samples["action"][:].tolist() == list(range(900, 1000))
    assert most < 1.8 * 100 * frame.nbytes


# What a rank runs, after the recipe: on rank 1, a sample is added before it opens the dataset.
IMPORTS = "from typing import Any\nimport mmap_ninja as mn\n"
RANK = """
import os, sys
import mmap_ninja as mn
rank, path = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{path}.meeting", rank=rank, world_size=2)
opened = mn.open
def late(*args, **options):
    opened(path).append("added")
    return opened(*args, **options)
if rank == 1:
    mn.open = late
ds = open_together(path)
print(rank, len(ds), len(opened(path)), ds[-1], ds.commit_id)
dist.destroy_process_group()
"""


def test_ranks_that_open_a_growing_dataset_together_see_the_same_samples(tmp_path):
    pytest.importorskip("torch")
    ds = mmap_ninja.StringsMmap.from_strings(tmp_path / "ds", ["first", "second"])
    (recipe,) = (block for block in blocks_of("docs/guides/pytorch.md") if "broadcast_object_list" in block)
    environment = os.environ | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})

    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", IMPORTS + recipe + RANK, str(rank), str(tmp_path / "ds")],
            stdout=subprocess.PIPE, text=True, env=environment,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        printed = [rank.communicate(timeout=120)[0].split() for rank in ranks]
    finally:
        for rank in ranks:  # one whose peer has failed waits for it
            rank.kill()

    assert [rank.returncode for rank in ranks] == [0, 0]
    assert printed[1] == ["1", "2", "3", "second", ds.commit_id]
    assert printed[0][1] == "2"
    assert printed[0][3:] == ["second", ds.commit_id]


def links(page):
    """The targets of a page's links, including named ones that are defined once."""
    text = page.read_text()
    return re.findall(r"\]\(([^)]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)


def anchors(page):
    """What a link to a heading of a page has after its "#"."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_of_the_pages_lead_somewhere():
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for target in links(page):
            name, _, anchor = target.partition("#")
            file = page.parent / name if name else page
            assert "://" in target or file.exists(), f"{page.name}: {target}"
            assert "://" in target or not anchor or anchor in anchors(file), f"{page.name}: {target}"


@pytest.mark.parametrize("page", ["how-it-works", "when-not"])
def test_figures_of_a_page_are_those_of_the_reports(page):
    reports = "".join(report.read_text() for report in ROOT.glob("benchmarks/*.md"))
    figures = re.findall(r"(\d+\.\d+)(?=\s+(?:to|µs|ms|kB|times|of their)\b)", (ROOT / f"docs/{page}.md").read_text())

    assert len(figures) >= 7
    missing = [figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.]*\d)", reports)]
    assert not missing, f"docs/{page}.md: no report has these: they were measured anew"


def test_links_of_the_readme_are_absolute_for_an_index_shows_it_too():
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    raw = repository.replace("github.com", "raw.githubusercontent.com")
    text = re.sub(r"```.*?```|`.*?`", "", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    defined = set(re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE))
    used = set(re.findall(r"\]\[([^\]]+)\]|\[([\w/.-]+\.md)\](?!:)", text))

    assert {label or name for label, name in used} == defined
    for target in links(ROOT / "README.md"):
        prefix = next(prefix for prefix in (f"{repository}/blob/main/", f"{raw}/main/") if target.startswith(prefix))
        assert (ROOT / target.removeprefix(prefix)).is_file(), target


def test_architecture_names_files_that_are_there_and_all_layers():
    page, drawing = ((ROOT / "docs" / name).read_text() for name in ("architecture.md", "drawings/architecture.svg"))
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
