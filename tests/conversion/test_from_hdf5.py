import pickle

import h5py
import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja.conversion import from_hdf5
from mmap_ninja.conversion.find import find
from mmap_ninja.conversion.source import Wanted


@pytest.fixture
def table(tmp_path):
    """A file with a dataset of each sort, all of one length."""
    path = tmp_path / "table.h5"
    with h5py.File(path, "w") as file:
        file["image"] = np.arange(5 * 6, dtype="u1").reshape(5, 2, 3)
        file["class"] = np.arange(5, dtype=">i2")
        file["good"] = np.arange(5) % 2 == 0
        file.create_dataset("text", data=["a", "", "ä", "b\n", "\u2028"], dtype=h5py.string_dtype())
        file["code"] = np.array([b"xy", b"z", b"", b"xy", b"z"])
        tokens = file.create_dataset("tokens", (5,), h5py.vlen_dtype("i4"))
        tokens[:] = np.array([np.arange(n, dtype="i4") for n in range(5)], dtype=object)
        file["box"] = np.array([(n, (n, 2 * n)) for n in range(5)], [("left", "f4"), ("size", "u1", (2,))])
        file["kind"] = h5py.Empty("f4")
        file["version"] = 3
    return path


def test_datasets_of_one_length_are_records(table, tmp_path):
    ds = mn.convert(table, tmp_path / "out")

    assert ds["image"].shape == (5, 2, 3)
    assert ds["class"].dtype == ">i2"
    assert list(ds["class"]) == [0, 1, 2, 3, 4]
    assert list(ds["good"]) == [True, False, True, False, True]
    assert list(ds["text"]) == ["a", "", "ä", "b\n", "\u2028"]
    assert list(ds["code"]) == ["xy", "z", "", "xy", "z"]
    assert [sample.tolist() for sample in ds["tokens"]] == [list(range(n)) for n in range(5)]
    assert ds[3]["box"]["left"] == 3
    assert ds[3]["box"]["size"].tolist() == [3, 6]
    assert set(ds[0]) == {"image", "class", "good", "text", "code", "tokens", "box"}


@pytest.mark.parametrize(
    ("dataset", "cls", "third"),
    [
        ("text", mn.StringsMmap, "ä"),
        ("code", mn.StringsMmap, ""),
        ("class", mn.ArrayMmap, 2),
        ("/good", mn.ArrayMmap, True),
    ],
)
def test_one_dataset_is_its_own_kind(table, tmp_path, dataset, cls, third):
    ds = mn.convert(table, tmp_path / "out", dataset=dataset)

    assert type(ds) is cls
    assert ds[2] == third


def test_arrays_of_any_length_are_ragged(table, tmp_path):
    ds = mn.convert(table, tmp_path / "out", dataset="tokens")

    assert type(ds) is mn.RaggedMmap
    assert ds[4].tolist() == [0, 1, 2, 3]


def test_fields_of_a_compound_dataset_are_columns(table, tmp_path):
    ds = mn.convert(table, tmp_path / "out", dataset="box")

    assert ds.take([1])["size"].tolist() == [[1, 2]]
    assert set(ds[0]) == {"left", "size"}


def test_kind_and_columns_can_be_asked_for(table, tmp_path):
    records = mn.convert(
        table, tmp_path / "records", dataset="class", kind="records", columns={"class": mn.Scalar("f4")}
    )
    texts = mn.convert(table, tmp_path / "bytes", dataset="text", kind="bytes")
    mixed = mn.convert(table, tmp_path / "mixed", columns={"text": mn.Bytes(), "code": mn.Bytes()})

    assert records[2] == {"class": 2.0}
    assert texts[2] == "ä".encode()
    assert (mixed[2]["text"], mixed[0]["code"]) == ("ä".encode(), b"xy")


def test_the_only_dataset_needs_no_name(tmp_path):
    with h5py.File(tmp_path / "one.hdf5", "w") as file:
        file["deep/in/it"] = np.arange(4.0)

    assert mn.convert(tmp_path / "one.hdf5", tmp_path / "out")[:].tolist() == [0, 1, 2, 3]


def test_parts_of_a_split_are_not_joined(tmp_path):
    path = tmp_path / "split.h5"
    with h5py.File(path, "w") as file:
        for part in ("train", "test"):
            file[f"{part}/x"], file[f"{part}/y"] = np.zeros((3, 2)), np.arange(3)

    with pytest.raises(ValueError, match=r"split.h5: .* found test/x \[3, 2\], test/y \[3\], train/x .*; name one"):
        mn.convert(path, tmp_path / "out")

    assert set(mn.convert(path, tmp_path / "train", dataset="train")[0]) == {"x", "y"}
    assert set(mn.convert(path, tmp_path / "all", dataset="/")[0]) == {"train", "test"}


@pytest.mark.parametrize("dataset", [None, "a", "no", "empty"])
def test_what_cannot_be_chosen_lists_what_is_there(tmp_path, dataset):
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        file["a/x"], file["a/y"] = np.zeros(3), np.zeros((4, 2))
        file.create_group("empty")

    asked = (
        f"a dataset '{dataset}'" if dataset in ("no", "empty") else "one dataset, or a group of datasets of one length"
    )
    with pytest.raises(ValueError, match=rf"expected {asked}, found a/x \[3\], a/y \[4, 2\]; name one"):
        mn.convert(path, tmp_path / "out", dataset=dataset)

    assert not (tmp_path / "out").exists()


def test_references_are_refused(tmp_path):
    path = tmp_path / "matlab.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(2)
        file.create_dataset("refs", data=[file["x"].ref] * 2, dtype=h5py.ref_dtype)

    with pytest.raises(ValueError, match="matlab.h5: /refs: holds object .* name another dataset"):
        mn.convert(path, tmp_path / "out")


def test_a_truncated_file_is_refused(table, tmp_path):
    table.write_bytes(table.read_bytes()[:-500])
    (tmp_path / "empty.h5").write_bytes(b"")

    with pytest.raises(ValueError, match="table.h5: is no whole file of HDF5"):
        mn.convert(table, tmp_path / "out")
    with pytest.raises(ValueError, match="empty.h5: is no whole file of HDF5"):
        mn.convert(tmp_path / "empty.h5", tmp_path / "out")


def test_text_that_is_no_utf8_is_named_and_can_be_left_out(tmp_path):
    path = tmp_path / "texts.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("t", data=[b"good", b"b\xffd", b"good"], dtype=h5py.string_dtype())

    with pytest.raises(ValueError, match="texts.h5, /t, row 1: byte 1 is 0xff"):
        mn.convert(path, tmp_path / "out")
    with pytest.warns(match="1 sample was left out"):
        ds = mn.convert(path, tmp_path / "skipped", on_error="skip")

    assert list(ds) == ["good", "good"]


def test_a_damaged_chunk_leaves_out_its_rows_alone(tmp_path):
    path = tmp_path / "damaged.h5"
    with h5py.File(path, "w") as file:
        chunked = file.create_dataset("x", data=np.arange(40), chunks=(10,), compression="gzip", fletcher32=True)
        at = chunked.id.get_chunk_info(2).byte_offset
    data = bytearray(path.read_bytes())
    data[at + 3] ^= 0xFF
    path.write_bytes(data)

    with pytest.raises(ValueError, match="damaged.h5, /x, row 20: cannot be read"):
        mn.convert(path, tmp_path / "out")
    with pytest.warns(match="10 samples were left out"):
        ds = mn.convert(path, tmp_path / "skipped", on_error="skip")

    assert ds[:].tolist() == [*range(20), *range(30, 40)]


@pytest.mark.parametrize(
    ("shape", "chunks", "rows"),
    [
        ((1000, 1024), None, 4096 // 4),
        ((5000, 1024), (300, 1024), 900),
        ((5000, 1024), (3000, 128), 3000),
        ((100_000, 1024), (100_000, 1), (128 << 20) // 4096),
    ],
)
def test_blocks_are_whole_chunks_of_bounded_size(tmp_path, shape, chunks, rows):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", shape, "f4", chunks=chunks, compression="gzip" if chunks else None)

    assert find(path, Wanted()).samples._block == rows


def test_workers_open_the_file_themselves(table):
    found = find(table, Wanted())
    expected = [repr(found.samples[index]) for index in range(5)]

    copy = pickle.loads(pickle.dumps(found.samples))

    assert copy._datasets == {}
    assert [repr(copy[index]) for index in (4, 0)] == [expected[4], expected[0]]


def test_many_rows_by_workers_and_resumed_are_the_same(tmp_path, monkeypatch):
    rows, path = 3000, tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("text", data=[f"text {n}" for n in range(rows)], dtype=h5py.string_dtype())
        file.create_dataset("x", data=np.arange(rows * 4).reshape(rows, 4), chunks=(70, 4), compression="gzip")
    whole = mn.convert(path, tmp_path / "whole", n_jobs=2)
    read = from_hdf5.Rows.__getitem__

    def broken(self, index):
        if index == 2500:
            raise OSError("the disk is gone")
        return read(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(from_hdf5.Rows, "__getitem__", broken)
        with pytest.raises(OSError, match="the disk is gone"):
            mn.convert(path, tmp_path / "out")
    resumed = mn.convert(path, tmp_path / "out", if_exists="resume")

    assert list(resumed["text"]) == list(whole["text"]) == [f"text {n}" for n in range(rows)]
    assert np.array_equal(resumed["x"][:], np.arange(rows * 4).reshape(rows, 4))


def test_a_missing_library_names_the_extra(table, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)

    with pytest.raises(ImportError, match=r'table.h5: needs h5py: pip install "mmap_ninja\[hdf5\]"'):
        mn.convert(table, tmp_path / "out")


@pytest.mark.parametrize("place", [b"TREE", b"HEAP", b"SNOD"])
def test_a_damaged_structure_names_the_file(tmp_path, place):
    path = tmp_path / "in.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(10)
    data = path.read_bytes()
    path.write_bytes(data.replace(place, b"\0\0\0\0", 1))

    with pytest.raises(ValueError, match=f"^{path}: cannot be read"):
        mn.convert(path, tmp_path / "out")
