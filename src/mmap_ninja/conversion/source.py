"""What a reader of a foreign format gives to `convert`: samples, and what they will be stored as."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mmap_ninja.columns.specs import Spec
from mmap_ninja.format.meta import Kind

OnError = Literal["raise", "skip"]
# The constructor of a dataset that takes the samples: `from_generator` and so on.
Feed = Literal["generator", "indexable", "arrow", "ndarray", "dataset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Samples to convert, found at a path, not read yet.

    Args:
        form: What was found, for people: "folder of text files".
        kind: The kind of dataset that it becomes.
        samples: What the constructor takes. An error in reading a sample names its file, and where it is in it.
        feed: The constructor: an iterable, an object with samples by position, which workers can read in parallel, what
            `from_arrow` takes, an array, or a handle of a dataset.
        columns: The types of columns of records, as far as they are known before the first sample is read: those that
            the caller wants among them.
        total: The number of samples, if it is known.
        place: Says where the sample that `samples` gives at position `i` comes from, for messages about samples that
            cannot be stored: "reviews.jsonl, line 17".
        metadata: What the dataset gets as metadata.
    """

    form: str
    kind: Kind
    samples: Any
    feed: Feed = "generator"
    columns: Mapping[str, Spec] = field(default_factory=dict)
    total: int | None = None
    place: Callable[[int], str] = "sample {}".format
    metadata: dict[str, Any] | None = None


@dataclass(slots=True)
class Skipped:
    """Samples that could not be read or stored, left out by `on_error="skip"`: how many, and the first ones."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def note(self, place: str, error: Exception) -> None:
        """Count a sample that is left out."""
        self.count += 1
        if len(self.first) < 10:  # enough to see what is wrong with a file
            reason = str(error).partition("; ")[0]  # without what to do about it
            self.first.append(reason if place in reason else f"{place}: {reason}")

    def __str__(self) -> str:
        counted = "1 sample was left out" if self.count == 1 else f"{self.count:,} samples were left out"
        return "\n  ".join(
            [f"{counted}, the first ones:" if self.count > len(self.first) else f"{counted}:", *self.first]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the caller asks of a reader: the parameters of `convert` that formats care about.

    Args:
        kind: The kind of dataset; None: what the source is by nature.
        columns: The types of some columns.
        with_path: Whether samples are records that tell the path of their file.
        dataset: The name of the dataset in a file that holds several.
        skipped: Where samples are noted that cannot be read; None: they raise.
    """

    kind: Kind | None = None
    columns: Mapping[str, Spec] = field(default_factory=dict)
    with_path: bool = False
    dataset: str | None = None
    skipped: Skipped | None = None

    def over(self, columns: Mapping[str, Spec], path: Path) -> dict[str, Spec]:
        """The columns of a source that has no others, with the types that the caller wants."""
        self.check_columns(columns, path)
        return {**columns, **self.columns}

    def check_columns(self, names: Iterable[str], path: Path) -> None:
        """Raise ValueError if the type of a column is given that a source with these columns does not have."""
        known = list(names)
        for name in self.columns:
            if name not in known:
                raise ValueError(f"{path}: column {name!r}: is not there; expected one of {known!r:.400}")


Reader = Callable[[Path, Wanted], Source]
