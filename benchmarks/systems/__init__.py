"""The measured systems: each a module of adapters, one class for each kind of data that the system keeps.

The adapters that feed a training loop lie in `loaders`.
"""

import importlib
from typing import NamedTuple

from systems.store import Store

__all__ = ["SYSTEMS", "Store", "load"]

TEXTS = ("Texts",)
ARRAYS = ("Ragged", "Fixed")
FED = ("Images", "Labelled", "Frames", "Windows", "Photos")  # to a training loop
ALL = ("Texts", "Zstd", "ZstdDictionary", *ARRAYS, "Records", "Reviews")


class System(NamedTuple):
    module: str
    distribution: str | None  # whose version is reported; None: Python's
    kinds: tuple[str, ...]
    environment: str = "bench"
    way: str = ""  # what its classes are called before the kind, if it is a second way to use a system


# The order is that of the tables.
SYSTEMS = {
    "ours": System("ours", "mmap_ninja", (*ALL, *FED)),
    "ours-numpy": System("ours", "mmap_ninja", ("Images", "Labelled", "Frames", "Windows"), way="Numpy"),
    "ours-as-dataset": System("ours", "mmap_ninja", ("Images", "Labelled", "Frames", "Windows"), way="AsDataset"),
    "ours-dataloader": System("ours", "mmap_ninja", ("Reviews", "Images", "Labelled"), way="DataLoader"),
    "ours-grain": System("grains", "grain", ("Images", "Labelled", "Frames", "Windows")),
    "ours-grain-samples": System("grains", "grain", FED, way="Samples"),
    "upstream": System("upstream", "mmap_ninja", ALL, "upstream"),
    "ram": System("ram", None, (*TEXTS, *ARRAYS, "Labelled")),
    "files": System("files", None, (*TEXTS, "Labelled", "Photos")),
    "memmap": System("memmap", "numpy", (*ARRAYS, "Images", "Frames", "Windows")),
    "datasets": System("huggingface", "datasets", (*TEXTS, *ARRAYS, "Records", *FED)),
    "datasets-arrow": System("huggingface", "datasets", TEXTS, way="Arrow"),
    "lmdb": System("lightning_db", "lmdb", TEXTS),
    "bagz": System("bagz_file", "bagz", TEXTS),
    "bagz-default": System("bagz_file", "bagz", TEXTS, way="Default"),
    "arrayrecord": System("arrayrecord", "array_record", (*TEXTS, "Images", "Labelled")),
    "lance": System("lance_table", "pylance", (*TEXTS, "Records")),
    "litdata": System("lightning_data", "litdata", (*TEXTS, *FED)),
    "mds": System("mosaic", "mosaicml-streaming", (*TEXTS, *FED), "mds"),
    "webdataset": System("tar_shards", "webdataset", ("Images", "Labelled", "Photos")),
    "spdl": System("spdl_pipeline", "spdl", ("Images", "Labelled", "Photos")),
    "tensordict": System("tensor_files", "tensordict", ARRAYS),
    "h5py": System("hdf5", "h5py", ARRAYS),
    "zarr": System("zarr_chunks", "zarr", ARRAYS),
    "npy-append": System("npy_append", "npy-append-array", ("Fixed",)),
    "pwrite": System("pwrite", None, TEXTS),
    "processes": System("processes", None, ("Ragged",)),
}


def load(system: str, kind: str) -> type[Store]:
    folder = "systems.loaders" if kind in FED else "systems"
    module = importlib.import_module(f"{folder}.{SYSTEMS[system].module}")
    return getattr(module, SYSTEMS[system].way + kind)
