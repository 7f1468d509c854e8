"""Larger directories, written by released versions of mmap_ninja 0.x from a package index, are read correctly.

Skipped without pip or a reachable index; the golden directories are always tested.
"""

import numpy as np
import pytest

from mmap_ninja.legacy.read import read_layout
from support.layouts import array, content


def texts():
    return [f"{number} " + "naïve 四 🥷 "[: number % 12] * (number % 50) for number in range(3000)]


def test_strings_of_a_release_are_read(written):
    assert content(written / "strings", read_layout(written / "strings"))["samples"] == texts()


def test_compressed_strings_of_a_release_are_read(written):
    if not (written / "zstd").exists():
        pytest.skip("this release does not compress, or zstandard is not installed")

    layout = read_layout(written / "zstd")

    assert layout.compression.dictionary
    assert content(written / "zstd", layout)["samples"] == texts()


@pytest.mark.parametrize("order", ["C", "F"])
def test_array_of_a_release_is_read(written, order):
    path = written / f"array-{order}"
    expected = np.arange(500 * 7 * 3, dtype=np.int32).reshape(500, 7, 3)

    layout = read_layout(path)
    found = array(path, layout.payload, layout.dtype).reshape(layout.rows, *layout.sample_shape, order=layout.order)

    assert (layout.order, layout.leftovers) == (order, ())
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rank", ["1", "2", "mixed"])
def test_ragged_of_a_release_is_read(written, rank):
    path = written / f"ragged-{rank}"
    with np.load(written / f"ragged-{rank}.npz") as file:
        expected = [file[name] for name in file.files]

    layout = read_layout(path)
    found = content(path, layout)["samples"]

    assert layout.dtype == expected[0].dtype
    assert [(sample["shape"], sample["hex"]) for sample in found] == [
        (list(sample.shape), sample.tobytes().hex()) for sample in expected
    ]
