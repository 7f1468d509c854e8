"""The systems of the feature table: each a module with one class of small operations, and what its cells say.

An operation that a system has no call for is left out, and the cell says so by the documentation.
"""

import importlib
from typing import NamedTuple


class Compared(NamedTuple):
    module: str
    title: str
    distributions: tuple[str, ...]
    environment: str = "bench"
    short: str = ""  # the title in a narrow table


# The order is that of the tables.
COMPARED = {
    "ours": Compared("ours", "mmap_ninja", ("mmap_ninja",)),
    "datasets": Compared("huggingface", "`datasets` (Hugging Face)", ("datasets",), short="`datasets`"),
    "arrayrecord": Compared("arrayrecord", "ArrayRecord + Grain", ("array_record", "grain")),
    "bagz": Compared("bagz_file", "bagz", ("bagz",)),
    "ffcv": Compared("ffcv_beton", "FFCV", ("ffcv",), "ffcv"),
    "lmdb": Compared("lightning_db", "LMDB", ("lmdb",)),
    "lance": Compared("lance_table", "Lance", ("pylance",)),
    "litdata": Compared("lightning_data", "LitData", ("litdata", "polars")),
    "mds": Compared("mosaic", "MDS (mosaicml-streaming)", ("mosaicml-streaming",), "mds", short="MDS"),
    "webdataset": Compared("tar_shards", "WebDataset", ("webdataset",)),
}


class Cell(NamedTuple):
    """What stands in a cell beside the answer."""

    text: str  # how it is done, or why not
    answer: str = ""  # yes, partly or no by the documentation; empty: the probe says it
    page: str = ""  # the project's own page that says so
    limited: bool = False  # what works is less than what the row asks for


def run(text: str, *, limited: bool = False) -> Cell:
    return Cell(text, limited=limited)


def documented(answer: str, text: str, page: str) -> Cell:
    return Cell(text, answer, page)


def load(system: str):
    return importlib.import_module(f"features.{COMPARED[system].module}")
