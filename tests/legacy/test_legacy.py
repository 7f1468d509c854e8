"""Layouts of the golden directories of 0.x, compared with what plain NumPy reads; and damage."""

import dataclasses
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmap_ninja.engine.upgrade_marks import detect
from mmap_ninja.errors import CorruptDatasetError, NotADatasetError
from mmap_ninja.legacy.layout import Compression, FlatShapes, LayoutFile, LegacyLayout, NestedShapes
from mmap_ninja.legacy.read import read_layout
from support.golden import GOLDEN
from support.layouts import content

EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
READABLE = [name for name, expected in EXPECTED.items() if expected["kind"] != "refused"]
REFUSED = [name for name, expected in EXPECTED.items() if expected["kind"] == "refused"]


def keys(name):
    if name.endswith("-strings-keys"):
        return {"starts_key": "from", "ends_key": "to"}
    if name.endswith("-ragged-keys"):
        return {"starts_key": "from", "ends_key": "to", "shapes_key": "forms", "flattened_shapes_key": "lengths"}
    return {}


def golden(name):
    return read_layout(GOLDEN / name, **keys(name))


@pytest.fixture
def copy(tmp_path):
    def make(name):
        return Path(shutil.copytree(GOLDEN / name, tmp_path / "dataset"))

    return make


def files_of(path):
    return sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize("name", READABLE)
def test_golden_layout_leads_to_the_samples(name):
    layout = golden(name)

    assert content(GOLDEN / name, layout) == EXPECTED[name]
    assert layout.leftovers == ()
    assert detect(GOLDEN / name)


@pytest.mark.parametrize("name", REFUSED)
def test_golden_that_cannot_be_read_is_refused(name):
    with pytest.raises(CorruptDatasetError, match=EXPECTED[name]["message"]):
        golden(name)

    assert detect(GOLDEN / name)


def test_golden_directories_are_all_expected():
    assert sorted(path.name for path in GOLDEN.glob("0.*")) == sorted(EXPECTED)


def test_layout_of_ragged_names_its_files():
    layout = golden("0.9.0-ragged-keys")

    assert layout == LegacyLayout(
        kind="ragged",
        rows=4,
        dtype=np.dtype("float64"),
        sample_shape=None,
        order="C",
        payload=LayoutFile("data.ninja", 104),
        starts=LayoutFile("from/data.ninja", 32),
        ends=LayoutFile("to/data.ninja", 32),
        shapes=NestedShapes(
            LayoutFile("forms/data.ninja", 64),
            LayoutFile("forms/starts/data.ninja", 32),
            LayoutFile("forms/ends/data.ninja", 32),
        ),
        compression=None,
        leftovers=(),
    )


def test_layout_of_flat_ragged_has_flat_shapes():
    assert golden("0.9.0-ragged-1d").shapes == FlatShapes(LayoutFile("shapes/data.ninja", 32), 1)


def test_layout_of_compressed_strings_has_level_and_dictionary():
    dictionary = (GOLDEN / "0.9.0-strings-zstd-dictionary" / "zstd_dict.ninja").read_bytes()

    assert golden("0.9.0-strings-zstd").compression == Compression(3, None)
    assert golden("0.9.0-strings-zstd-dictionary").compression == Compression(-1, dictionary)


def test_layout_is_the_same_without_the_type_of_later_versions(copy):
    for name in ("0.9.0-strings", "0.9.0-array-c", "0.9.0-ragged-2d"):
        path = copy(name)
        (path / "type.ninja").unlink()

        assert read_layout(path) == golden(name)

        shutil.rmtree(path)


def test_missing_path_is_not_a_dataset(tmp_path):
    assert not detect(tmp_path / "missing")
    with pytest.raises(NotADatasetError, match="is not a dataset of mmap_ninja 0.x"):
        read_layout(tmp_path / "missing")


def test_file_is_not_a_dataset(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    assert not detect(tmp_path / "file")
    with pytest.raises(NotADatasetError):
        read_layout(tmp_path / "file")


def test_directory_of_other_files_is_not_a_dataset(tmp_path):
    (tmp_path / "review.txt").write_bytes(b"good")

    assert not detect(tmp_path)


def test_commit_file_wins_over_files_of_0_x(copy):
    path = copy("0.9.0-strings")
    (path / "COMMIT").write_bytes(b"")

    assert not detect(path)
    with pytest.raises(NotADatasetError, match="or COMMIT, too"):
        read_layout(path)


@pytest.mark.parametrize("name", READABLE)
def test_truncated_file_is_refused_or_changes_nothing(copy, name):
    path, layout = copy(name), golden(name)
    for file in files_of(path):
        whole = (path / file).read_bytes()
        for size in {*range(min(len(whole), 25)), len(whole) // 2, *range(max(len(whole) - 9, 0), len(whole))}:
            (path / file).write_bytes(whole[:size])
            try:
                found = read_layout(path, **keys(name))
            except CorruptDatasetError as error:
                assert str(path) in str(error)
            else:
                survives(layout, found, file)
        (path / file).write_bytes(whole)


def survives(layout, found, file):
    """Whether a truncation can go unnoticed: the layout is the same, or a file seems to have leftovers."""
    if file.name == "zstd_dict.ninja":  # a shorter dictionary, with which zstd refuses to decompress
        found = dataclasses.replace(found, compression=layout.compression)
    if file.name == "dtype.ninja" and layout.dtype.kind == "M":  # "datetime64[D]" cut to "datetime64"
        found = dataclasses.replace(found, dtype=layout.dtype)
    assert found == layout or found.leftovers or not layout.rows


@pytest.mark.parametrize("name", READABLE)
def test_missing_file_is_refused_or_was_not_needed(copy, name):
    path, layout = copy(name), golden(name)
    for file in files_of(path):
        whole = (path / file).read_bytes()
        (path / file).unlink()
        try:
            found = read_layout(path, **keys(name))
        except (CorruptDatasetError, NotADatasetError) as error:
            assert str(path) in str(error)
        else:
            if name.startswith("0.4.0-ragged") and file == Path("shapes_are_flat.ninja"):
                assert found.kind == "array"  # in this version, only this file shows that it is ragged
            else:
                assert file.name == "type.ninja"
                assert found == layout
        (path / file).write_bytes(whole)


@pytest.mark.parametrize("name", ["0.2.0-ragged-2d", "0.9.0-strings-zstd-dictionary", "0.9.0-array-f"])
@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_irregular_file_is_refused(copy, name, kind):
    path, layout = copy(name), golden(name)
    for file in files_of(path):
        place = path / file
        whole = place.read_bytes()
        place.unlink()
        if kind == "symlink":
            place.symlink_to(GOLDEN / name / file)
        elif kind == "fifo":
            os.mkfifo(place)
        else:
            place.mkdir()
        if file.name != "type.ninja" or file.parent == Path():
            with pytest.raises(CorruptDatasetError, match="expected a regular file"):
                read_layout(path)
        else:  # the type file of a part is not read
            assert read_layout(path) == layout
        place.rmdir() if kind == "directory" else place.unlink()
        place.write_bytes(whole)


def test_file_in_place_of_a_directory_is_refused(copy):
    path = copy("0.9.0-strings")
    shutil.rmtree(path / "ends")
    (path / "ends").write_bytes(b"")

    with pytest.raises(CorruptDatasetError, match="ends/dtype.ninja: is missing"):
        read_layout(path)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_files_are_refused_or_fit_the_layout(tmp_path, data):
    name = data.draw(st.sampled_from(READABLE))
    shutil.rmtree(tmp_path / "dataset", ignore_errors=True)
    path = Path(shutil.copytree(GOLDEN / name, tmp_path / "dataset"))
    for _ in range(data.draw(st.integers(1, 3))):
        file = path / data.draw(st.sampled_from(files_of(path)))
        whole = bytearray(file.read_bytes())
        if whole and data.draw(st.booleans()):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        else:
            number = data.draw(st.sampled_from([0, 1, 2, 255, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]))
            whole[:8] = struct.pack("<Q", number)
        file.write_bytes(whole)

    try:
        layout = read_layout(path, **keys(name))
    except CorruptDatasetError:
        return

    sizes = [layout.payload, layout.starts, layout.ends]
    match layout.shapes:
        case FlatShapes(shapes, 1):
            sizes.append(shapes)
            assert shapes.size_bytes == layout.rows * 8
        case NestedShapes(numbers, starts, ends):
            sizes += [numbers, starts, ends]
            assert starts.size_bytes == ends.size_bytes == layout.rows * 8
    for file in filter(None, sizes):
        assert 0 <= file.size_bytes <= (path / file.name).stat().st_size
    if layout.starts:
        assert layout.starts.size_bytes == layout.ends.size_bytes == layout.rows * 8
    else:
        assert layout.payload.size_bytes == layout.rows * np.prod(layout.sample_shape) * layout.dtype.itemsize


# States that an append of 0.x leaves if its process dies.


def append(path, extra, rows=None):
    """Extend an array as 0.x did: the data, then the dimensions, unless its process died before."""
    with (path / "data.ninja").open("ab") as file:
        file.write(extra)
    if rows is not None:
        shape = path / "shape.ninja"
        shape.write_bytes(struct.pack("<Q", rows) + shape.read_bytes()[8:])


def test_array_data_without_its_dimensions_is_left_over(copy):
    path = copy("0.9.0-array-c")
    append(path, bytes(12))

    assert read_layout(path) == dataclasses.replace(golden("0.9.0-array-c"), leftovers=("data.ninja",))


def test_index_data_without_its_dimensions_is_left_over(copy):
    path = copy("0.9.0-strings")
    append(path / "starts", struct.pack("<q", 32))

    assert read_layout(path) == dataclasses.replace(golden("0.9.0-strings"), leftovers=("starts/data.ninja",))


@pytest.mark.parametrize("name", ["0.9.0-ragged-1d", "0.9.0-ragged-2d"])
def test_ragged_data_without_its_offsets_is_left_over(copy, name):
    path = copy(name)
    elements = struct.unpack("<Q", (path / "shape.ninja").read_bytes())[0]
    append(path, bytes(2 * golden(name).dtype.itemsize), elements + 2)

    assert read_layout(path) == dataclasses.replace(golden(name), leftovers=("data.ninja",))


def test_starts_without_ends_are_refused(copy):
    path = copy("0.9.0-strings")
    append(path / "starts", struct.pack("<q", 32), 7)

    with pytest.raises(
        CorruptDatasetError, match="ends: 6 rows where the 7 of starts was expected; .* first 6 samples"
    ):
        read_layout(path)


def test_offsets_without_strings_are_refused(copy):
    path = copy("0.9.0-strings")
    append(path / "starts", struct.pack("<q", 32), 7)
    append(path / "ends", struct.pack("<q", 36), 7)

    with pytest.raises(CorruptDatasetError, match="data.ninja: 32 bytes where 36, where the last string ends"):
        read_layout(path)


def test_offsets_without_shapes_are_refused(copy):
    path = copy("0.9.0-ragged-2d")
    append(path, bytes(8), 14)
    for part, number in (("starts", 13), ("ends", 14), ("flattened_shapes", 1)):
        append(path / part, struct.pack("<q", number), 5)

    with pytest.raises(CorruptDatasetError, match="shapes: 4 rows where the 5 of starts was expected"):
        read_layout(path)


def test_dimensions_emptied_to_be_written_again_are_refused(copy):
    path = copy("0.9.0-ragged-2d")
    (path / "ends" / "shape.ninja").write_bytes(b"")

    with pytest.raises(CorruptDatasetError, match="ends/shape.ninja: 0 bytes .* is writing to it, try again"):
        read_layout(path)


def test_byte_before_an_extended_empty_array_of_bytes_is_refused(copy):
    path = copy("0.9.0-array-empty-extended")
    (path / "dtype.ninja").write_bytes(b"uint8")
    (path / "data.ninja").write_bytes(bytes(13))

    with pytest.raises(CorruptDatasetError, match="13 bytes that begin with a zero where 12 was expected"):
        read_layout(path)


def test_byte_before_an_extended_empty_array_can_be_removed(copy):
    path = copy("0.9.0-array-empty-extended")
    (path / "data.ninja").write_bytes((path / "data.ninja").read_bytes()[1:])

    assert content(path, read_layout(path)) == EXPECTED["0.9.0-array-c"]


@pytest.mark.parametrize(
    ("starts", "ends"),
    [((1, 1), (1, 2)), ((0, -1), (1, 2)), ((0, 3), (1, 2)), ((0, 1), (-1, 2)), ((0, 1), (3, 2)), ((0, 0), (0, -1))],
)
def test_offsets_that_decrease_are_refused(copy, starts, ends):
    path = copy("0.9.0-strings-empty")
    (path / "data.ninja").write_bytes(b"abc")
    (path / "starts" / "data.ninja").write_bytes(struct.pack("<2q", *starts))
    (path / "ends" / "data.ninja").write_bytes(struct.pack("<2q", *ends))

    with pytest.raises(CorruptDatasetError, match="offsets that begin with 0 and do not decrease was expected"):
        read_layout(path)


# Directories that could be of two kinds.


@pytest.mark.parametrize("shape", [(7,), (4, 3), (2, 3, 5), (1, 1, 1, 1), (70_000, 3)])
@pytest.mark.parametrize("code", ["I", "Q"])
def test_dimensions_of_both_widths_are_distinguished(copy, shape, code):
    path = copy("0.2.0-array-c")
    with (path / "data.ninja").open("wb") as file:
        file.truncate(int(np.prod(shape)) * 4)
    (path / "shape.ninja").write_bytes(struct.pack(f"<{len(shape)}{code}", *shape))

    layout = read_layout(path)

    assert (layout.rows, *layout.sample_shape) == shape
    assert layout.leftovers == ()


def test_truncated_data_is_not_read_as_an_array_of_old_dimensions(copy):
    path = copy("0.9.0-array-c")
    (path / "data.ninja").write_bytes(b"")

    with pytest.raises(CorruptDatasetError, match=r"data.ninja: 0 bytes where 48 for shape \(4, 3\) was expected"):
        read_layout(path)


def test_dimensions_that_no_array_can_have_are_refused(copy):
    path = copy("0.9.0-array-empty")
    for shape in ((0, 1 << 63), (0, 1 << 40, 1 << 40), (0,) * 32):
        (path / "shape.ninja").write_bytes(struct.pack(f"<{len(shape)}Q", *shape))
        if len(shape) == 32:
            assert read_layout(path).rows == 0
        else:
            with pytest.raises(CorruptDatasetError, match="for shape"):
                read_layout(path)


def test_array_over_ragged_is_an_array(copy):
    path = copy("0.9.0-ragged-2d")
    shutil.copytree(GOLDEN / "0.9.0-array-c", path, dirs_exist_ok=True)

    assert content(path, read_layout(path)) == EXPECTED["0.9.0-array-c"]


def test_one_dimensional_array_over_ragged_is_refused(copy):
    path = copy("0.9.0-ragged-2d")
    shutil.copytree(GOLDEN / "0.9.0-array-1d", path, dirs_exist_ok=True)

    with pytest.raises(CorruptDatasetError, match="if this is an array, remove shapes_are_flat.ninja"):
        read_layout(path)


def test_flat_ragged_over_nested_reads_the_flat_shapes(copy):
    path = copy("0.9.0-ragged-2d")
    shutil.copytree(GOLDEN / "0.9.0-ragged-1d", path, dirs_exist_ok=True)

    assert content(path, read_layout(path)) == EXPECTED["0.9.0-ragged-1d"]


def test_strings_over_compressed_ones_are_refused(copy):
    path = copy("0.9.0-strings-zstd")
    shutil.copytree(GOLDEN / "0.9.0-strings", path, dirs_exist_ok=True)

    with pytest.raises(CorruptDatasetError, match="text where a zstd frame.* remove zstd_level.ninja"):
        read_layout(path)


def test_compressed_strings_without_level_are_refused(copy):
    path = copy("0.9.0-strings-zstd")
    (path / "zstd_level.ninja").unlink()

    with pytest.raises(CorruptDatasetError, match="a zstd frame where text.* restore zstd_level.ninja"):
        read_layout(path)


def test_shapes_of_windows_are_refused(copy):
    path = copy("0.9.0-ragged-1d")
    (path / "shapes" / "dtype.ninja").write_bytes(b"int32")

    with pytest.raises(CorruptDatasetError, match="shapes/dtype.ninja: int32 where int64 was expected; 0.x on Windows"):
        read_layout(path)


@pytest.mark.parametrize(
    "name", ["i4,f8", "(2,3)f4", "O", "void", "str", "float", "int", ">i4", "datetime64[xx]", "\xff"]
)
def test_dtype_by_a_name_that_0_x_did_not_write_is_refused(copy, name):
    path = copy("0.9.0-array-c")
    (path / "dtype.ninja").write_bytes(name.encode("latin-1"))

    with pytest.raises(CorruptDatasetError, match="dtype.ninja: '"):
        read_layout(path)


@pytest.mark.parametrize(
    "dtype", ["bool", "f2", "f4", "f8", "g", "c8", "c16", "u1", "u8", "i2", "M8[ns]", "m8[25s]", "M8"]
)
def test_dtype_by_its_name_is_read(copy, dtype):
    path = copy("0.9.0-array-1d")
    (path / "dtype.ninja").write_text(np.dtype(dtype).name)
    (path / "data.ninja").write_bytes(bytes(2 * np.dtype(dtype).itemsize))

    assert read_layout(path).dtype == np.dtype(dtype)


def test_type_of_something_else_is_refused(copy):
    path = copy("0.9.0-array-c")
    (path / "type.ninja").write_bytes(b"torch")

    with pytest.raises(CorruptDatasetError, match="type.ninja: b'torch' where numpy, string or ragged was expected"):
        read_layout(path)
