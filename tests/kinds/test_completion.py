"""What editors and notebooks complete: the names of every public object, and the columns of records."""

import numpy as np
import pytest

import mmap_ninja as mn
from support.kinds import KINDS

jedi = pytest.importorskip("jedi")


def offered(namespace, text):
    return {completion.name for completion in jedi.Interpreter(text, [namespace]).complete()}


def public(named):
    return {name for name in dir(named) if not name.startswith("_")}


@pytest.mark.parametrize("kind", KINDS)
def test_all_names_of_a_handle_are_completed(tmp_path, kind):
    dataset = KINDS[kind].build(tmp_path / "ds", 6)
    read_only = mn.open(tmp_path / "ds", "r")
    handles = {
        "dataset": dataset,
        "read_only": read_only,
        "view": dataset.select([1, 0]),
        "concat": mn.concat([dataset, dataset]),
        "report": dataset.verify(),
        "nothing": KINDS[kind].cls(tmp_path / "nothing"),
        "wrapped": mn.Wrapped(dataset, str),
    }

    for name, named in handles.items():
        assert public(named) <= offered(handles, f"{name}."), name


def test_all_names_of_columns_and_of_the_package_are_completed(tmp_path):
    records = KINDS["records"].build(tmp_path / "ds", 6)
    columns = {name.replace(".", "_"): records[name] for name in records.columns}
    objects = columns | {"mn": mn, "some": records[["text"]], "windows": records["tokens"].windows(2)}

    for name, named in objects.items():
        assert public(named) <= offered(objects, f"{name}."), name


def test_all_names_are_completed_after_a_call(tmp_path):
    namespace = {"mn": mn, "np": np}

    for cls in ("StringsMmap", "BytesMmap", "ArrayMmap", "RaggedMmap", "RecordsMmap"):
        assert public(getattr(mn, cls)) <= offered(namespace, f"mn.{cls}."), cls
        assert {"take", "append", "select"} <= offered(namespace, f"mn.{cls}('path')."), cls


def test_notebook_completes_the_columns_of_records_and_their_groups(tmp_path):
    completer = pytest.importorskip("IPython.core.completer")
    records = KINDS["records"].build(tmp_path / "ds", 3)
    found = {}
    shown = {
        "ds": records,
        "view": records.select([1]),
        "concat": mn.concat([records, records]),
        "some": records[["text", "more.label"]],
    }
    for name, named in shown.items():
        asked = completer.IPCompleter(namespace={"ds": named})
        with completer.provisionalcompleter():
            found[name] = {completion.text for completion in asked.completions("ds['", 4)}

    names = {*records.columns, "more"}
    assert found == {"ds": names, "view": names, "concat": names, "some": {"text", "more", "more.label"}}
    for name in found["ds"]:
        records[name]
