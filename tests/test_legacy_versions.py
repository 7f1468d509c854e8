"""Released versions of mmap_ninja 0.x, installed from a package index, write larger directories, which are compared.

Without pip, or an index that it reaches, these are skipped, and say so; the golden directories are tested in any case.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_legacy import array, content

from mmap_ninja.legacy.read import read_layout

WRITER = Path(__file__).with_name("legacy_writer.py")
PIP_SECONDS = 40


@pytest.fixture(scope="module", params=["0.2.4", "0.9.0"])
def written(request, tmp_path_factory):
    """A folder with datasets that a released version has written."""
    folder = tmp_path_factory.mktemp("version")
    install = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--retries", "0", "--timeout", "5", "--target", folder / "site", f"mmap_ninja=={request.param}",
    ]  # fmt: skip
    try:
        subprocess.run(install, check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"NOT TESTED: pip did not install mmap_ninja {request.param} within {PIP_SECONDS} s")
    except subprocess.CalledProcessError as error:
        reason = [line for line in error.stderr.splitlines() if line.strip()] or ["no reason given"]
        pytest.skip(f"NOT TESTED: pip could not install mmap_ninja {request.param}: {reason[-1]:.200}")
    subprocess.run(
        [sys.executable, WRITER, folder / "site", request.param, folder],
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )
    return folder


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
