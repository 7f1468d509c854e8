"""The measured systems: each a module of adapters, one class for each kind of data that the system keeps."""

import importlib
from typing import NamedTuple

from systems.store import Store

__all__ = ["SYSTEMS", "Store", "load"]

TEXTS = ("Texts",)
ARRAYS = ("Ragged", "Fixed")
ALL = ("Texts", "Zstd", "ZstdDictionary", *ARRAYS, "Records", "Reviews")


class System(NamedTuple):
    module: str
    distribution: str | None  # whose version is reported; None: Python's
    kinds: tuple[str, ...]
    environment: str = "bench"
    way: str = ""  # what its classes are called before the kind, if it is a second way to use a system


# The order is that of the tables.
SYSTEMS = {
    "ours": System("ours", "mmap_ninja", ALL),
    "ours-dataloader": System("ours", "mmap_ninja", ("Reviews",), way="DataLoader"),
    "upstream": System("upstream", "mmap_ninja", ALL, "upstream"),
    "ram": System("ram", None, (*TEXTS, *ARRAYS)),
    "files": System("files", None, TEXTS),
    "memmap": System("memmap", "numpy", ARRAYS),
    "datasets": System("huggingface", "datasets", (*TEXTS, *ARRAYS, "Records")),
    "datasets-arrow": System("huggingface", "datasets", TEXTS, way="Arrow"),
    "lmdb": System("lightning_db", "lmdb", TEXTS),
    "bagz": System("bagz_file", "bagz", TEXTS),
    "bagz-default": System("bagz_file", "bagz", TEXTS, way="Default"),
    "arrayrecord": System("arrayrecord", "array_record", TEXTS),
    "lance": System("lance_table", "pylance", (*TEXTS, "Records")),
    "litdata": System("lightning_data", "litdata", TEXTS),
    "mds": System("mosaic", "mosaicml-streaming", TEXTS, "mds"),
    "tensordict": System("tensor_files", "tensordict", ARRAYS),
    "h5py": System("hdf5", "h5py", ARRAYS),
    "zarr": System("zarr_chunks", "zarr", ARRAYS),
    "npy-append": System("npy_append", "npy-append-array", ("Fixed",)),
    "pwrite": System("pwrite", None, TEXTS),
    "processes": System("processes", None, ("Ragged",)),
}


def load(system: str, kind: str) -> type[Store]:
    module = importlib.import_module(f"systems.{SYSTEMS[system].module}")
    return getattr(module, SYSTEMS[system].way + kind)
