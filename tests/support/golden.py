"""The golden directories, and the samples from which versions of 0.x wrote some of them."""

import json
from pathlib import Path

import numpy as np

from mmap_ninja import ArrayMmap, RaggedMmap, StringsMmap

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
CLASSES = {"strings": StringsMmap, "array": ArrayMmap, "ragged": RaggedMmap}
KEYS = {
    "0.9.0-strings-keys": {"starts_key": "from", "ends_key": "to"},
    "0.9.0-ragged-keys": {
        "starts_key": "from",
        "ends_key": "to",
        "shapes_key": "forms",
        "flattened_shapes_key": "lengths",
    },
}
READABLE = [name for name, entry in EXPECTED.items() if entry["kind"] in CLASSES]
PLAIN = [name for name in READABLE if name not in KEYS]
STRINGS, ARRAY, F_ORDER, RAGGED, MIXED, SCALARS = (
    f"0.9.0-{case}" for case in ("strings", "array-c", "array-f", "ragged-2d", "ragged-mixed", "ragged-scalars")
)


def expected_samples(name):
    """The samples that 0.x stored."""
    entry = EXPECTED[name]
    if entry["kind"] == "strings":
        return entry["samples"]
    if entry["kind"] == "array":
        return list(np.frombuffer(bytes.fromhex(entry["hex"]), entry["dtype"]).reshape(entry["shape"]))
    return [
        np.frombuffer(bytes.fromhex(sample["hex"]), entry["dtype"]).reshape(sample["shape"])
        for sample in entry["samples"]
    ]


def plain(samples):
    """Samples as values that `==` can compare."""
    return [s if isinstance(s, str) else (np.asarray(s).dtype.str, np.shape(s), s.tobytes()) for s in samples]


def opened(name, path=None, **options):
    """A golden directory of 0.x, or a copy of it, opened by its class."""
    return CLASSES[EXPECTED[name]["kind"]](path or GOLDEN / name, **KEYS.get(name, {}), **options)


def content(path):
    """All files below a path, with bytes and times."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return {str(file.relative_to(path)): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
