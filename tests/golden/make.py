"""Write the golden directories of the installed mmap_ninja 0.x beside this file, once; see README.md."""

import json
import sys
from pathlib import Path

import numpy as np

import mmap_ninja
from mmap_ninja import numpy as arrays
from mmap_ninja import string
from mmap_ninja.ragged import RaggedMmap

VERSION = mmap_ninja.__version__
FOLDER = Path(__file__).parent
StringsMmap = getattr(string, "StringsMmap", None) or string.StringsMmmap  # the spelling of 0.2.0

TEXTS = ["first", "", "dritter: äöü", "四", "🥷", "last\n"]
LONGER = [f"review {number} of a film that was not {'so ' * (number % 7)}bad" for number in range(24)]
MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
RAGGED_1D = [np.arange(n, dtype=np.int16) - 3 for n in (3, 0, 1, 5)]
RAGGED_2D = [np.arange(rows * columns, dtype=np.float64).reshape(rows, columns) / 3 for rows, columns in
             ((2, 3), (1, 1), (0, 4), (3, 2))]  # fmt: skip
MIXED = [np.ones((2, 2), np.uint8), np.arange(3, dtype=np.uint8), np.uint8(7), np.zeros((1, 2, 3), np.uint8),
         np.zeros(0, np.uint8)]  # fmt: skip
SCALARS = [np.float32(1.5), np.float32(-2), np.arange(2, dtype=np.float32), np.zeros(0, np.float32)]


def of_strings(samples):
    return {"kind": "strings", "samples": samples}


def of_array(array):
    array = np.asarray(array)
    return {"kind": "array", "dtype": array.dtype.str, "shape": list(array.shape), "hex": array.tobytes().hex()}


def of_ragged(samples):
    samples = [np.asarray(sample) for sample in samples]
    described = [{"shape": list(sample.shape), "hex": sample.tobytes().hex()} for sample in samples]
    return {"kind": "ragged", "dtype": samples[0].dtype.str, "samples": described}


def refused(message):
    return {"kind": "refused", "message": message}


def strings(path):
    texts = StringsMmap.from_strings(path, TEXTS[:3])
    texts.extend(TEXTS[3:5])
    texts.append(TEXTS[5])
    texts[0] = "FIRST"
    return of_strings(["FIRST", *TEXTS[1:]])


def strings_empty(path):
    try:
        StringsMmap.from_strings(path, ["", ""])
    except ValueError:  # it fails to map an empty file, but has written everything
        return of_strings(["", ""])
    raise AssertionError


def strings_zstd(path):
    StringsMmap.from_strings(path, TEXTS[:4], zstd_level=3).extend(TEXTS[4:])
    return of_strings(TEXTS)


def strings_zstd_dictionary(path):
    texts = StringsMmap.from_strings(path, LONGER[:20], zstd_level=-1, zstd_train_dictionary_size=384)
    texts.extend(LONGER[20:])
    return of_strings(LONGER)


def strings_keys(path):
    StringsMmap.from_strings(path, TEXTS, starts_key="from", ends_key="to")
    return of_strings(TEXTS)


def array_c(path):
    arrays.extend(arrays.from_ndarray(path, MATRIX[:3]), MATRIX[3:])
    return of_array(MATRIX)


def array_f(path):
    arrays.from_ndarray(path, np.asfortranarray(MATRIX))
    return of_array(MATRIX)


def array_f_extended(path):
    """Garbled by the extension: 0.x reads it like this."""
    arrays.extend(arrays.from_ndarray(path, np.asfortranarray(MATRIX)), MATRIX[:2])
    return of_array(arrays.open_existing(path))


def array_empty(path):
    arrays.from_ndarray(path, np.zeros((0, 3), np.int32))
    return of_array(np.zeros((0, 3), np.int32))


def array_empty_extended(path):
    arrays.extend(arrays.from_ndarray(path, np.zeros((0, 3), np.float32)), MATRIX)
    return refused("49 bytes that begin with a zero where 48 was expected")


def array_1d(path):
    days = np.array(["2026-02-03", "NaT"], "datetime64[D]")
    arrays.from_ndarray(path, days)
    return of_array(days)


def array_big_endian(path):
    """Read with swapped bytes, as by 0.x."""
    arrays.from_ndarray(path, np.array([1, 2], ">i4"))
    return of_array(np.array([1 << 24, 2 << 24], "<i4"))


def array_text(path):
    arrays.from_ndarray(path, np.array(["ab", "c"]))
    return refused("dtype.ninja: 'str64' where")


def array_structure(path):
    arrays.from_ndarray(path, np.zeros(2, "<i4,<f4"))
    return refused("dtype.ninja: 'void64' where")


def array_object(path):
    arrays.from_ndarray(path, np.array([True, None], object))
    (path / "data.ninja").write_bytes(bytes(16))  # addresses of objects were here
    return refused("dtype.ninja: 'object' where")


def array_generator(path):
    arrays.from_generator(out_dir=path, sample_generator=iter(MATRIX), batch_size=3, n=4)
    return refused("it has neither dtype nor shape") if VERSION < "0.5.2" else of_array(MATRIX)


def ragged_1d(path):
    RaggedMmap.from_lists(path, RAGGED_1D[:3], mode="r+").append(RAGGED_1D[3])
    return of_ragged(RAGGED_1D)


def ragged_2d(path):
    RaggedMmap.from_lists(path, RAGGED_2D[:3]).append(RAGGED_2D[3])
    return of_ragged(RAGGED_2D)


def ragged_mixed(path):
    RaggedMmap.from_lists(path, MIXED[:3]).extend(MIXED[3:])
    return of_ragged(MIXED)


def ragged_scalars(path):
    RaggedMmap.from_lists(path, SCALARS[:3]).extend(SCALARS[3:])
    return of_ragged(SCALARS)


def ragged_empty(path):
    RaggedMmap.from_lists(path, [np.zeros((0, 2), np.int8), np.zeros((3, 0), np.int8)])
    return of_ragged([np.zeros((0, 2), np.int8), np.zeros((3, 0), np.int8)])


def ragged_keys(path):
    RaggedMmap.from_lists(
        path, RAGGED_2D, starts_key="from", ends_key="to", shapes_key="forms", flattened_shapes_key="lengths"
    )
    return of_ragged(RAGGED_2D)


def ragged_rank_changed(path):
    """A 2-D sample after a first batch of 1-D ones: it failed after writing all but the shape."""
    try:
        RaggedMmap.from_lists(path, RAGGED_1D).append(np.ones((2, 2), np.int16))
    except AssertionError:
        return refused("4 rows where the 5 of starts was expected")
    raise AssertionError


MAKERS = {
    "0.2.0": [strings, array_c, array_generator, ragged_1d, ragged_2d],
    "0.2.4": [strings, array_f, ragged_2d],
    "0.4.0": [strings, ragged_1d, ragged_2d],
    "0.5.4": [array_generator, ragged_mixed],
    "0.9.0": [
        strings, strings_empty, strings_zstd, strings_zstd_dictionary, strings_keys,
        array_c, array_f, array_f_extended, array_empty, array_empty_extended, array_1d, array_big_endian,
        array_text, array_structure, array_object,
        ragged_1d, ragged_2d, ragged_mixed, ragged_scalars, ragged_empty, ragged_keys, ragged_rank_changed,
    ],
}  # fmt: skip


def main():
    expected_path = FOLDER / "expected.json"
    expected = json.loads(expected_path.read_text()) if expected_path.exists() else {}
    for maker in MAKERS[VERSION]:
        name = f"{VERSION}-{maker.__name__.replace('_', '-')}"
        if (FOLDER / name).exists():
            sys.exit(f"{name} exists; golden directories are not made again")
        expected[name] = maker(FOLDER / name)
    expected_path.write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


main()
