"""Datasets of several blocks with checksums, for the tests of `verify` and `recover`."""

import numpy as np

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StringsMmap

TEXTS = [f"{number:05d}" * (number % 97) for number in range(2500)]  # 600 kB, as below


def noise(count, size):
    """Random bytes, the same every time."""
    generator = np.random.default_rng(5)
    return [generator.bytes(number % size) for number in range(count)]


def edited_texts(path):
    texts = StringsMmap.from_strings(path, TEXTS)
    del texts[::50]
    texts[::40] = ["replaced" * 30] * len(texts[::40])
    return texts


def many_edits(path):
    texts = StringsMmap.from_strings(path, ["x"] * 9000)
    del texts[::3]
    return texts


def records(path):
    columns = {
        "text": mn.Text(),
        "number": mn.Scalar(np.int32, nullable=True),
        "row": mn.Ragged(np.float32, ndim=2),
        "json": mn.Json(),
    }
    dataset = RecordsMmap.create(path, columns=columns)
    samples = [
        {
            "text": text,
            "number": None if number % 7 == 0 else number,
            "row": np.full((number % 5, 3), number, np.float32),
            "json": {"number": [number]},
        }
        for number, text in enumerate(TEXTS)
    ]
    dataset.extend(samples)
    return dataset


DATASETS = {
    "strings": lambda path: StringsMmap.from_strings(path, TEXTS),
    "zstd": lambda path: StringsMmap.from_strings(path, list(map(str, noise(2500, 200))), zstd_level=3),
    "bytes": lambda path: BytesMmap.from_bytes(path, noise(2500, 500)),
    "array": lambda path: ArrayMmap.from_ndarray(path, np.arange(900 * 784, dtype=np.uint32).reshape(900, 28, 28)),
    "ragged": lambda path: RaggedMmap.from_lists(path, [np.arange(number % 90) for number in range(2500)]),
    "images": lambda path: RaggedMmap.from_lists(path, [np.ones((number % 9, 9, 3)) for number in range(2900)]),
    "ranks": lambda path: RaggedMmap.from_lists(path, [np.ones((5,) * (number % 4)) for number in range(1500)]),
    "edited": edited_texts,
    "many edits": many_edits,
    "records": records,
}
