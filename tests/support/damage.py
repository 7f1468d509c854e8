"""A dataset to damage, and ways to read it afterwards."""

from mmap_ninja import MmapNinjaError
from support.faults import opened

SAMPLES = ["first", "größer", "", "the fourth", "日本"]
READS = {
    "index": lambda ds: ds[1],
    "slice": lambda ds: ds[1:2],
    "iteration": lambda ds: list(ds),
    "take": lambda ds: ds.take([4, 1]),
    "take_jagged": lambda ds: ds.take_jagged([4, 1]),
    "byte_lengths": lambda ds: ds.byte_lengths,
    "find": lambda ds: ds.index("no such sample"),
    "view": lambda ds: list(ds.select([1])),
    "reversed": lambda ds: list(reversed(ds)),
}


def refuses_all_but(path, expected):
    """Assert that a dataset is refused cleanly, or shows one of the expected lists."""
    try:
        found = list(opened(path))
    except MmapNinjaError as error:
        assert str(path) in str(error)
        return True
    assert found in expected
    return False
