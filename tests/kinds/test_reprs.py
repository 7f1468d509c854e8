"""What the repr of a dataset tells, and the introduction of the package."""

import doctest

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, RaggedMmap, RecordsMmap
from support.golden import GOLDEN


@pytest.mark.parametrize(
    ("samples", "described"),
    [
        (np.zeros((2, 3, 4), np.uint8), "uint8[3, 4]"),
        (np.zeros(2, np.float16), "float16"),
        (np.zeros((2, 3), ">i4"), ">i4[3]"),
    ],
)
def test_repr_of_arrays_tells_dtype_and_shape_of_a_sample(tmp_path, samples, described):
    dataset = ArrayMmap.from_ndarray(tmp_path / "ds", samples)

    assert repr(dataset) == f"ArrayMmap('{dataset.path}', 2 samples, {samples.nbytes} bytes; {described})"
    assert repr(dataset.select([1])) == f"ArrayMmap('{dataset.path}', view, 1 samples; {described})"
    dataset.close()
    assert repr(dataset) == f"ArrayMmap('{dataset.path}', closed; {described})"


@pytest.mark.parametrize(
    ("samples", "described"),
    [
        ([[1, 2], [3]], "int32[*]"),
        ([np.zeros((2, 3)), np.zeros((1, 1))], "int32[*, *]"),
        ([[1], [[2]]], "int32[...]"),
        ([1, 2], "int32[]"),
        ([], "int32[...]"),
    ],
)
def test_repr_of_ragged_samples_tells_dtype_and_rank(tmp_path, samples, described):
    dataset = RaggedMmap.from_generator(
        tmp_path / "ds", [np.asarray(sample, np.int32) for sample in samples], dtype="i4"
    )

    assert repr(dataset).endswith(f" bytes; {described})")
    assert repr(dataset.select(slice(None))).endswith(f", {len(samples)} samples; {described})")


def test_repr_of_a_column_tells_its_type(tmp_path):
    columns = {"a": mn.Array((2,), "f4", nullable=True), "r": mn.Ragged("i8", ndim=1), "t": mn.Text()}
    records = RecordsMmap.create(tmp_path / "ds", columns)
    records.append({"a": None, "r": [1], "t": "a"})

    assert repr(records["a"]).endswith("view, 1 samples; float32[2] or None)")
    assert repr(records["r"]).endswith("view, 1 samples; int64[*])")
    assert repr(records["t"]).endswith("view, 1 samples)")
    assert repr(records).endswith("; a: float32[2] or None, r: int64[*], t: str)")


def test_repr_without_samples_tells_what_is_known(tmp_path):
    ArrayMmap(tmp_path / "empty").clear()

    assert repr(ArrayMmap(tmp_path / "none")) == f"ArrayMmap('{tmp_path}/none', no dataset yet)"
    assert repr(ArrayMmap.from_generator(tmp_path / "ds", [])).endswith("0 samples, 0 bytes)")
    assert repr(RecordsMmap.from_generator(tmp_path / "records", [])).endswith("0 samples, 0 bytes; no columns yet)")


def test_repr_of_a_directory_of_0x_tells_its_dtype():
    assert repr(mn.open(GOLDEN / "0.9.0-ragged-2d", "r")).endswith("[...])")
    assert repr(mn.open(GOLDEN / "0.9.0-array-c", "r")).endswith("]) ".strip())


def test_docstring_of_the_package_is_an_introduction_that_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = mn.__doc__.strip().splitlines()
    example = doctest.DocTestParser().get_doctest(mn.__doc__, {}, "mmap_ninja", None, 0)

    assert 10 <= len(lines) <= 15
    assert len(example.examples) >= 4
    assert doctest.DocTestRunner().run(example).failed == 0
    for name in ("StringsMmap", "BytesMmap", "ArrayMmap", "RaggedMmap", "RecordsMmap", "open", "verify"):
        assert f"`{name}`" in mn.__doc__
