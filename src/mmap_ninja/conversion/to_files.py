"""A folder with a file for each text or bytes."""

from typing import Final

from mmap_ninja.conversion.paths import check_names, column_named, numbered
from mmap_ninja.conversion.samples import OutColumn, Samples
from mmap_ninja.conversion.target import Target, write_new
from mmap_ninja.engine import files as system
from mmap_ninja.errors import NotADatasetError

_AT_ONCE: Final = 4 << 20  # bytes of samples


def files(samples: Samples, target: Target) -> None:
    """A file for each sample, under its number, or as its `path` or `name` says."""
    named = column_named(samples, "path", "name")
    content = _content(samples, named)
    suffix = samples.suffix
    if suffix is None:
        suffix = "" if named is not None else ".txt" if content.holds == "text" else ".bin"
    if "/" in suffix or "\0" in suffix:
        raise ValueError(f"suffix {suffix!r:.80}: expected the end of a file's name, such as '.txt'")
    if (null := content.first_null()) is not None:
        raise ValueError(f"{content.where}: sample {null} is null, which no file holds; leave it out with select")
    if named is not None:
        check_names(named, dotless=False)
    made = {""}  # folders
    with target.folder() as folder:
        for first, columns in samples.parts(_AT_ONCE):
            values = {column.name: column.taken() for column in columns}
            names = numbered(first, columns, len(samples)) if named is None else values[named.name]
            for name, value in zip(names, values[content.name], strict=True):
                path = f"{folder}/{name}{suffix}"
                try:
                    if (parent := name.rpartition("/")[0]) not in made:
                        system.make_directories(folder / parent)
                        made.add(parent)
                    write_new(path, value.encode() if isinstance(value, str) else value)
                except (FileExistsError, IsADirectoryError, NotADatasetError):
                    raise ValueError(
                        f"{samples.path}: another sample is in the way of {name + suffix!r:.200}: one needs a file "
                        "where the other needs a folder; change it, or leave the column out with columns="
                    ) from None


def _content(samples: Samples, named: OutColumn | None) -> OutColumn:
    """The column that the files hold."""
    others = [column for column in samples.columns if column is not named]
    if len(others) != 1:
        told = ", ".join(repr(column.name) for column in others)
        raise ValueError(
            f"{samples.path}: a file holds one column, and may have its name from another, called path or name; found "
            f"{told}; choose with columns="
        )
    (content,) = others
    if content.holds not in ("text", "bytes"):
        raise content.refused("a folder of files", "export to a WebDataset tar")
    return content
