"""Reads the files of a layout of 0.x with plain NumPy."""

import numpy as np
import pytest

from mmap_ninja.legacy.layout import FlatShapes, NestedShapes


def array(path, file, dtype):
    """The part of a file with samples."""
    content = (path / file.name).read_bytes()
    assert file.size_bytes <= len(content)
    return np.frombuffer(content[: file.size_bytes], dtype)


def content(path, layout):
    """The content of a directory by its layout, in the form of expected.json."""
    if layout.kind == "array":
        flat = array(path, layout.payload, layout.dtype)
        samples = flat.reshape(layout.rows, *layout.sample_shape, order=layout.order)
        return {
            "kind": "array",
            "dtype": samples.dtype.str,
            "shape": list(samples.shape),
            "hex": samples.tobytes().hex(),
        }
    starts, ends = array(path, layout.starts, "<i8"), array(path, layout.ends, "<i8")
    if layout.kind == "strings":
        payload = array(path, layout.payload, np.uint8).tobytes()
        samples = [payload[start:end] for start, end in zip(starts, ends, strict=True)]
        if layout.compression:
            zstandard = pytest.importorskip(
                "zstandard", reason="zstandard is not installed: compressed text is not read"
            )
            dictionary = layout.compression.dictionary
            decompressor = zstandard.ZstdDecompressor(dictionary and zstandard.ZstdCompressionDict(dictionary))
            samples = [decompressor.decompress(sample) for sample in samples]
        return {"kind": "strings", "samples": [sample.decode() for sample in samples]}
    payload = array(path, layout.payload, layout.dtype)
    match layout.shapes:
        case FlatShapes(file, ndim):
            shapes = array(path, file, "<i8").reshape(layout.rows, ndim)
        case NestedShapes(data, first, last):
            numbers, first, last = (array(path, file, "<i8") for file in (data, first, last))
            shapes = [numbers[start:end] for start, end in zip(first, last, strict=True)]
    samples = []
    for start, end, shape in zip(starts, ends, map(np.ndarray.tolist, shapes), strict=True):
        sample = payload[start:end].reshape([] if shape == [0] and end - start == 1 else shape)
        samples.append({"shape": list(sample.shape), "hex": sample.tobytes().hex()})
    return {"kind": "ragged", "dtype": layout.dtype.str, "samples": samples}
