"""Files of NumPy, as NumPy itself writes them."""

import io
import tarfile
import warnings
import zipfile

import numpy as np
import pytest

import mmap_ninja as mn

ARRAYS = {
    "numbers": np.arange(24, dtype=np.int32).reshape(4, 3, 2),
    "one dimension": np.linspace(0, 1, 5),
    "by columns": np.asfortranarray(np.arange(12.0).reshape(4, 3)),
    "big endian": np.arange(6, dtype=">i2").reshape(3, 2),
    "bool": np.array([True, False]),
    "dates": np.array(["2024-01-01", "2025-01-01"], "datetime64[D]"),
    "empty": np.zeros((0, 3), np.float32),
    "structure": np.array([(1, 2.0), (3, 4.0)], [("a", "i4"), ("b", "f8")]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_npy(tmp_path, name):
    np.save(tmp_path / "a.npy", ARRAYS[name])

    made = mn.convert(tmp_path / "a.npy", tmp_path / "out")

    assert isinstance(made, mn.ArrayMmap)
    assert made.dtype == ARRAYS[name].dtype
    np.testing.assert_array_equal(np.asarray(made), ARRAYS[name])


def test_npy_of_texts_and_bytes(tmp_path):
    np.save(tmp_path / "t.npy", np.array(["a", "日本", ""]))
    np.save(tmp_path / "b.npy", np.array([b"a", b"bc"]))

    assert list(mn.convert(tmp_path / "t.npy", tmp_path / "t")) == ["a", "日本", ""]
    assert list(mn.convert(tmp_path / "b.npy", tmp_path / "b")) == [b"a", b"bc"]


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_objects_are_refused(tmp_path, name):
    save = np.save if name == "a.npy" else np.savez
    save(tmp_path / name, np.array([{}, []], object))

    with pytest.raises(ValueError, match=r"a\.np[yz].*objects of Python are pickles, which run code"):
        mn.convert(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_single_value_is_refused(tmp_path, name):
    save = np.save if name == "a.npy" else np.savez
    save(tmp_path / name, np.float32(1))

    with pytest.raises(ValueError, match=r"expected an array of shape \[n, ...\], found a single value of float32"):
        mn.convert(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("size", [0, 30, 200])
def test_file_that_is_cut_off_is_named(tmp_path, name, size):
    save = np.save if name == "a.npy" else np.savez
    save(tmp_path / name, np.arange(1000))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:size])

    with pytest.raises(ValueError, match=r"a\.np[yz]: "):
        mn.convert(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_records(tmp_path, save):
    arrays = {
        "image": np.arange(3000 * 4, dtype=np.uint8).reshape(3000, 2, 2),
        "label": np.arange(3000),
        "name": np.array([f"n{number}" for number in range(3000)]),
        "by_columns": np.asfortranarray(np.arange(6000.0).reshape(3000, 2)),
        "class": np.zeros(3000, bool),
    }
    save(tmp_path / "a.npz", **arrays)

    made = mn.convert(tmp_path / "a.npz", tmp_path / "out")

    assert made.columns == list(arrays)
    assert made["image"].shape == (3000, 2, 2)
    for name, array in arrays.items():
        np.testing.assert_array_equal(made[name][:], array)


def test_npz_with_a_declared_column(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.arange(3), b=np.arange(3))

    made = mn.convert(tmp_path / "a.npz", tmp_path / "out", columns={"a": mn.Scalar("uint8")})

    assert (made["a"].dtype, made["b"].dtype) == (np.uint8, np.int64)


def test_npz_of_several_lengths_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.arange(3), b=np.arange(4))

    with pytest.raises(ValueError, match=r"a\.npz: expected arrays of one length, found \{'a': 3, 'b': 4\}"):
        mn.convert(tmp_path / "a.npz", tmp_path / "out")


def test_npz_without_samples(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros((0, 2)))

    made = mn.convert(tmp_path / "a.npz", tmp_path / "out")

    assert (len(made), made["a"].shape) == (0, (0, 2))


@pytest.mark.parametrize(
    "damage", ["truncated", "flipped", "other member", "twice", "no member", "encrypted", "method"]
)
def test_a_damaged_archive_is_named(tmp_path, damage):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.arange(1000), y=np.arange(1000) % 7)
    data = bytearray(path.read_bytes())
    match damage:
        case "truncated":
            del data[50:60]
        case "flipped":
            data[150] ^= 0xFF
        case "encrypted":
            data[data.index(b"PK\1\2") + 8] |= 1
            data[6] |= 1
        case "method":
            data[data.index(b"PK\1\2") + 6] = 0xFF  # the version needed to unpack it
    path.write_bytes(data)
    if damage in ("other member", "twice", "no member"):
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as file:
            warnings.simplefilter("ignore")  # about the name
            for name in {"other member": ["notes.txt"], "twice": ["x.npy", "x.npy"], "no member": []}[damage]:
                file.writestr(name, b"")

    with pytest.raises(ValueError, match=f"^{path}: ") as raised:
        mn.convert(path, tmp_path / "out")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("shape", ["(-1, 3)", "(1000000000000, 3)", "(3", "x", "1", "(99999999999999999999,)"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.tar"])
def test_a_header_that_makes_no_sense_is_an_error(tmp_path, name, shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    array = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + bytes(24)
    path = tmp_path / name
    if name == "a.npy":
        path.write_bytes(array)
    elif name == "a.npz":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x.npy", array)
    else:
        with tarfile.open(path, "w") as file:
            member = tarfile.TarInfo("0.npy")
            member.size = len(array)
            file.addfile(member, io.BytesIO(array))

    with pytest.raises(ValueError, match=f"^{path}: "):
        mn.convert(path, tmp_path / "out")
