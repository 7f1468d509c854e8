"""`mmap_ninja.open` with a kind, which is for type checkers, and refuses datasets of another one."""

import pytest

import mmap_ninja as mn
from support.kinds import KINDS


@pytest.mark.parametrize("name", ["strings", "bytes", "array", "ragged", "records"])
def test_open_of_a_kind_refuses_another_one(tmp_path, name):
    KINDS[name].build(tmp_path / "ds", 3).close()
    other = "bytes" if name == "strings" else "strings"

    opened = mn.open(tmp_path / "ds", kind=name)

    assert type(opened) is type(mn.open(tmp_path / "ds")) is KINDS[name].cls
    assert isinstance(opened, mn.DatasetHandle)
    with pytest.raises(TypeError, match=f"ds: .*{name}"):
        mn.open(tmp_path / "ds", kind=other)


def test_open_of_an_unknown_kind_names_those_that_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"kind 'texts' is unknown \(expected None or one of \('strings', 'bytes'"):
        mn.open(tmp_path / "ds", kind="texts")
