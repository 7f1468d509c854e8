"""Which format lies at a path: by its suffix if it is a file, by what is in it if it is a folder."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from mmap_ninja.conversion.files import Files, files_below
from mmap_ninja.conversion.from_columnar import is_hugging_face
from mmap_ninja.conversion.from_datasets import is_dataset
from mmap_ninja.conversion.from_images import SUFFIXES as IMAGES
from mmap_ninja.conversion.from_lmdb import is_database
from mmap_ninja.conversion.from_tfrecord import NAMES as TFRECORD
from mmap_ninja.conversion.from_webdataset import SUFFIXES as TARS
from mmap_ninja.conversion.shards import expanded
from mmap_ninja.conversion.source import Reader, Source, Wanted


@dataclass(frozen=True, slots=True)
class Form:
    """A format that `convert` reads.

    Args:
        name: Its name for people.
        reader: The module and function that read it, imported on use.
        suffixes: Ends of the names of its files.
        fits: Whether a folder is of this format.
        names: The names of its files, where suffixes do not tell, as for `Files.matching`.
        takes: What it takes of what only some formats do: options, and a pipe, which can be read only once.
    """

    name: str
    reader: str
    suffixes: tuple[str, ...] = ()
    fits: Callable[[Path], bool] | None = None
    names: re.Pattern[bytes] | None = None
    takes: tuple[str, ...] = ()

    def is_of(self, path: Path) -> bool:
        """Whether a file or folder is of this format, as far as names tell."""
        if path.is_dir():
            return self.fits is not None and self.fits(path)
        name = Files.of([os.fsencode(path.name)])
        return name.has(*self.suffixes) or (self.names is not None and name.has_match(self.names))

    @property
    def is_refused(self) -> bool:
        """Whether it is known, but never read."""
        return self.reader.startswith("refused:")

    def is_single_in(self, folder: Path) -> bool:
        """Whether a folder has files of this format, which are read one by one only."""
        return self.fits is None and not self.is_refused and folder.is_dir() and files_below(folder).has(*self.suffixes)

    def read(self, path: Path, wanted: Wanted) -> Source:
        """The source at a path of this format.

        Raises:
            ValueError: if an option is given that it does not take, or it cannot be read.
        """
        if not path.is_file() and not path.is_dir() and path.exists() and "pipe" not in self.takes:
            raise ValueError(f"{path}: is a pipe or a device, and is read more than once; write it to a file first")
        for option in ("with_path", "dataset"):
            if getattr(wanted, option) and option not in self.takes:
                raise ValueError(f"{path}: {option} has no use here: the format is {self.name}; leave it out")
        module, _, function = self.reader.partition(":")
        reader: Reader = getattr(import_module(f"mmap_ninja.conversion.{module}"), function)
        return reader(path, wanted)


def _has(*suffixes: str) -> Callable[[Path], bool]:
    """Whether a folder has a file with one of the suffixes, itself or below."""
    return lambda folder: files_below(folder).has(*suffixes)


def _named(names: re.Pattern[bytes]) -> Callable[[Path], bool]:
    """Whether a folder has a file with such a name, itself or below."""
    return lambda folder: files_below(folder).has_match(names)


def _compressed(*suffixes: str) -> tuple[str, ...]:
    """The suffixes, and those of compressed files."""
    return tuple(suffix + packed for suffix in suffixes for packed in ("", ".gz", ".zst"))


# Longer suffixes first; the most specific folders first.
FORMS: Final = (
    Form("dataset of mmap_ninja", "from_datasets:dataset", fits=is_dataset),
    Form("LMDB", "from_lmdb:database", (".mdb", ".lmdb"), is_database, takes=("with_path", "dataset")),
    Form("HDF5", "from_hdf5:rows", (".h5", ".hdf5", ".hdf"), takes=("dataset",)),
    Form("TFRecord", "from_tfrecord:records", (), _named(TFRECORD), TFRECORD),
    Form("tar of WebDataset", "from_webdataset:samples", TARS, _has(*TARS)),
    Form("tokens of Megatron-LM (.bin and .idx)", "from_megatron:tokens", (".bin", ".idx"), _has(".idx")),
    Form("array of NumPy (.npy)", "from_arrays:array", (".npy",)),
    Form("arrays of NumPy (.npz)", "from_arrays:archive", (".npz",)),
    Form("text file with a sample a line", "from_texts:lines", (".txt",), takes=("pipe",)),
    Form("Parquet", "from_columnar:parquet", (".parquet",)),
    Form("Arrow or Feather", "from_columnar:arrow", (".arrow", ".arrows", ".feather", ".ipc")),
    Form("JSON Lines or JSON array", "from_json:objects", _compressed(".jsonl", ".ndjson", ".json")),
    Form("CSV", "from_csv:commas", _compressed(".csv")),
    Form("TSV", "from_csv:tabs", _compressed(".tsv")),
    Form("dataset of Hugging Face", "from_columnar:hugging_face", fits=is_hugging_face),
    Form("folder of Parquet files", "from_columnar:parquet", fits=_has(".parquet")),
    Form("folder of Arrow files", "from_columnar:arrow", fits=_has(".arrow", ".arrows", ".feather", ".ipc")),
    Form("folder of images", "from_images:folder", fits=_has(*IMAGES), takes=("with_path",)),
    Form("folder of text files", "from_texts:folder", fits=_has(".txt"), takes=("with_path",)),
    Form("pickle", "refused:pickles", (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")),
)


def find(path: Path, wanted: Wanted) -> Source:
    """The source at a path.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: if its format is none of those that can be read, or is refused, or it is of another kind.
    """
    paths = expanded(path)
    for part in paths:
        if not part.exists():
            raise FileNotFoundError(f"{part}: expected a file or folder to convert, found nothing; check the path")
    try:
        for form in FORMS:
            if form.is_of(paths[0]):
                return _checked(form.read(path, wanted), path, wanted)
        single = next((form for form in FORMS if form.is_single_in(paths[0])), None)
        is_empty = paths[0].is_dir() and not files_below(paths[0])
    finally:
        files_below.cache_clear()  # it takes memory, and may change
    if single is not None:
        raise ValueError(
            f"{path}: is a folder of files that are converted one by one ({single.name}); convert each, or read them "
            "yourself and pass the samples to from_generator"
        )
    known = ", ".join(form.name for form in FORMS if not form.is_refused)
    found = "is a folder without files" if is_empty else "cannot tell its format"
    raise ValueError(f"{path}: {found}; expected one of: {known}")


def _checked(found: Source, path: Path, wanted: Wanted) -> Source:
    """The source, if it becomes what is wanted."""
    if wanted.kind not in (None, found.kind):
        raise ValueError(
            f"{path}: kind {wanted.kind!r}: expected {found.kind!r} for its format ({found.form}); leave the kind out"
        )
    if wanted.columns and found.feed == "dataset":
        raise ValueError(f"{path}: columns have no use here: a dataset is copied as it is; leave them out")
    if wanted.columns and found.kind != "records":
        raise ValueError(f"{path}: column {next(iter(wanted.columns))!r}: {found.kind} have no columns; leave it out")
    return found
