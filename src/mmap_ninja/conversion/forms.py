"""The forms in which `export` writes: a table, read without NumPy, since the command's `--help` shows it."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmap_ninja.conversion.samples import Samples
    from mmap_ninja.conversion.target import Target

    Writer = Callable[[Samples, Target], None]

FormName = Literal["parquet", "arrow", "jsonl", "csv", "tsv", "npy", "webdataset", "files"]
NAMES: Final[tuple[FormName, ...]] = get_args(FormName)


@dataclass(frozen=True, slots=True)
class Form:
    """A form in which `export` writes.

    Args:
        name: Its name for people, and for `form=`.
        writer: The module and function that write it, imported on use.
        suffixes: Ends of the names of its files; of a folder, none.
    """

    name: FormName
    writer: str
    suffixes: tuple[str, ...] = ()

    def write(self, samples: "Samples", target: "Target") -> None:
        """Write samples in this form; what it cannot hold is an error before anything is written."""
        module, _, function = self.writer.partition(":")
        writer: Writer = getattr(import_module(f"mmap_ninja.conversion.{module}"), function)
        writer(samples, target)


def _compressible(suffix: str) -> tuple[str, ...]:
    return suffix, f"{suffix}.gz", f"{suffix}.zst"


FORMS: Final = (
    Form("parquet", "to_tables:parquet", (".parquet", ".pq")),
    Form("arrow", "to_tables:arrow", (".arrow", ".feather")),
    Form("jsonl", "to_texts:jsonl", (*_compressible(".jsonl"), *_compressible(".ndjson"))),
    Form("csv", "to_texts:csv", _compressible(".csv")),
    Form("tsv", "to_texts:tsv", _compressible(".tsv")),
    Form("npy", "to_arrays:npy", (".npy",)),
    Form("webdataset", "to_webdataset:webdataset", (".tar",)),
    Form("files", "to_files:files"),
)


def form_of(path: Path, name: str | None) -> Form:
    """The form with a name, or for a path by its suffix; a path without one becomes a folder of files.

    Raises:
        ValueError: if there is no such form.
    """
    if name is not None:
        for form in FORMS:
            if form.name == name:
                return form
        raise ValueError(f"form {name!r} is unknown (expected None or one of {NAMES})")
    for form in FORMS:
        if path.name.lower().endswith(form.suffixes):  # of no suffixes, never
            return form
    if not path.suffix:
        return FORMS[-1]
    known = ", ".join(form.suffixes[0] for form in FORMS if form.suffixes)
    raise ValueError(
        f"{path}: its suffix {path.suffix!r} tells no form; expected {known}, or none for a folder of files; or name "
        f"the form, one of {', '.join(NAMES)}"
    )
