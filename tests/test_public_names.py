"""The public names of the package: each is imported on first use, and belongs to the package."""

import ast
import inspect
import pickle
import pickletools
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest

import mmap_ninja as mn

INHERITED = ["base", "generic", "numpy", "parallel", "ragged", "string"]
OWN = [name for name in mn.__all__ if name not in INHERITED]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_type_checkers_see_the_names_that_python_does():
    block = next(node for node in ast.parse(Path(mn.__file__).read_text()).body if isinstance(node, ast.If))
    seen = {}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            (alias,) = node.names
            assert alias.name == alias.asname  # the form that re-exports a name
            seen[alias.name] = node.module

    assert sorted(seen) == mn.__all__
    assert {name: module for name, module in seen.items() if name in OWN} == {
        name: f"mmap_ninja.{module}" for name, module in mn._MODULES.items() if name in OWN
    }
    assert {seen[name] for name in INHERITED} == {"mmap_ninja"}


def test_dir_shows_the_public_names_and_no_others():
    import mmap_ninja.kinds.handle  # noqa: PLC0415 - leaves `kinds` behind in the package

    assert dir(mmap_ninja) == sorted([*mn.__all__, "__version__"])


def test_star_gives_all_names():
    assert run("from mmap_ninja import *; print(*sorted(name for name in dir() if name[0] != '_'))") == mn.__all__


@pytest.mark.parametrize("name", INHERITED)
def test_inherited_modules_come_as_attributes_and_as_imports(name):
    by_attribute = f"import mmap_ninja; print(mmap_ninja.{name}.__name__)"
    by_import = f"import mmap_ninja.{name} as module; print(module.__name__)"
    from_package = f"from mmap_ninja import {name} as module; print(module.__name__)"

    assert {*run(by_attribute), *run(by_import), *run(from_package)} == {f"mmap_ninja.{name}"}


def test_a_name_is_kept_once_it_was_asked_for():
    code = "import mmap_ninja as mn; print('Wrapped' in vars(mn), mn.Wrapped is vars(mn)['Wrapped'])"

    assert run(code) == ["False", "True"]


def test_threads_that_ask_at_once_get_one_class():
    code = (
        "import mmap_ninja as mn; from concurrent.futures import ThreadPoolExecutor as Pool;"
        "found = list(Pool(8).map(lambda number: mn.RecordsMmap, range(8)));"
        "print(len(found), len(set(found)), mn.open.__globals__['RecordsMmap'] is found[0])"
    )

    assert run(code) == ["8", "1", "True"]


def test_a_mistyped_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="^module 'mmap_ninja' has no attribute 'StringMmap'$") as caught:
        mn.StringMmap
    with pytest.raises(ImportError, match="cannot import name 'StringMmap' from 'mmap_ninja'"):
        from mmap_ninja import StringMmap  # noqa: F401, PLC0415

    assert (caught.value.name, caught.value.obj) == ("StringMmap", mn)  # for Python's "Did you mean"


@pytest.mark.parametrize("name", OWN)
def test_name_belongs_to_the_package(name):
    named = getattr(mn, name)

    assert (named.__module__, named.__qualname__) == ("mmap_ninja", name)
    assert pickle.loads(pickle.dumps(named)) is named


@pytest.mark.parametrize("name", [*OWN, "reopen"])
def test_type_hints_can_be_asked_for(name):
    named = getattr(mn, name)
    members = inspect.getmembers(named) if inspect.isclass(named) else []
    methods = [member for _, member in members if inspect.isfunction(member) or inspect.ismethod(member)]

    for of in (named, *methods):
        if of.__name__ not in ("to_arrow", "to_pandas"):  # which need not be installed
            typing.get_type_hints(of)


def modules_named_by(pickled):
    """The modules of this package with classes or functions that a pickle names."""
    strings = [argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)]
    return {string.split()[0] for string in strings if string.startswith("mmap_ninja")}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """One of each class that can be pickled."""
    path = tmp_path_factory.mktemp("shown")
    texts = mn.StringsMmap.from_strings(path / "texts", ["a", "b"])
    blobs = mn.BytesMmap.from_bytes(path / "blobs", [b"a", b"b"])
    rows = mn.ArrayMmap.from_ndarray(path / "rows", np.arange(4).reshape(2, 2))
    ragged = mn.RaggedMmap.from_lists(path / "ragged", [[1, 2], [3]])
    deep = mn.RaggedMmap.from_lists(path / "deep", [[1, 2], [[3]]])
    records = mn.RecordsMmap.from_generator(path / "records", [{"text": "a", "json": [None, {}], "number": 1}] * 2)
    return {
        "strings": texts,
        "bytes": blobs,
        "array": rows,
        "ragged": ragged,
        "shapes": deep.shapes,
        "records": records,
        "json": records["json"],
        "view": texts.select([1, 0]),
        "range": texts.select(slice(1)),
        "nothing": mn.StringsMmap(path / "nothing"),
        "concat": mn.concat([texts, texts]),
        "windows": ragged.windows(1),
        "document windows": ragged.windows(1, documents=True),
        "wrapped": mn.Wrapped([1, 2], int),
        "mapped": texts.map(str.upper),
        "mix": mn.mix([texts, texts], [1, 2]),
    }


KINDS = [
    "strings", "bytes", "array", "ragged", "shapes", "records", "json", "view", "range", "nothing", "concat",
    "windows", "document windows", "wrapped", "mapped", "mix",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_pickles_do_not_depend_on_folders(shown, kind, protocol):
    pickled = pickle.dumps(shown[kind], protocol)

    again = pickle.loads(pickled)

    assert type(again) is type(shown[kind])
    assert str(list(again)) == str(list(shown[kind]))
    assert modules_named_by(pickled) == {"mmap_ninja"}


SPECS = [
    mn.Text(codec="zstd"),
    mn.Bytes(nullable=True),
    mn.Json(),
    mn.Scalar("uint8"),
    mn.Array((2, 3), "float32"),
    mn.Ragged("int32", ndim=1),
]


@pytest.mark.parametrize("spec", [mn.Text, mn.Bytes, mn.Json])
def test_options_of_columns_have_names(spec):
    with pytest.raises(TypeError, match="positional"):
        spec(True)


ERRORS = [name for name in OWN if name.endswith(("Error", "Warning"))]


def test_values_come_back_from_pickles_and_do_not_depend_on_folders(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "ds", ["a", "b"])
    (data,) = (tmp_path / "ds").glob("*data*")
    data.write_bytes(b"xx")
    report = mn.verify(tmp_path / "ds")
    recovery = mn.recover(tmp_path / "ds", tmp_path / "out", keep="readable")
    errors = [getattr(mn, name)("message") for name in ERRORS]

    assert len(errors) > 10
    assert len({*SPECS}) == len(SPECS)  # hashable
    assert report.problems
    for value in [*SPECS, report, report.problems[0], recovery, *errors]:
        pickled = pickle.dumps(value)
        again = pickle.loads(pickled)
        assert type(again) is type(value)
        assert repr(again) == repr(value)
        assert modules_named_by(pickled) == {"mmap_ninja"}, value
