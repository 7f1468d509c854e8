"""Names of columns: how fields of samples map to columns, and how dotted names nest.

There is one rule, in samples, tables and declarations: `a.b` is the entry `b` of the dict `a`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final, cast

MOST_COLUMNS: Final = 1000
MOST_CHARACTERS: Final = 255  # of a column's name


class Names:
    """The names of columns, and their nesting."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._tree: dict[str, Any] = {}
        for place, name in enumerate(names):
            *groups, last = name.split(".")
            node = self._tree
            for group in groups:
                node = node.setdefault(group, {})
            node[last] = place

    @cached_property
    def _is_flat(self) -> bool:
        return not any(isinstance(node, dict) for node in self._tree.values())

    def split(
        self, samples: Sequence[Any], where: str, first: int, is_nullable: Callable[[int], bool]
    ) -> list[list[Any]]:
        """The values of each column from samples that are dicts, dataclasses or named tuples; None for missing ones.

        Args:
            samples: The samples.
            where: The dataset, for messages.
            first: The number of the first sample, for messages.
            is_nullable: Whether the column at a place may miss in a sample.

        Raises:
            TypeError: if a sample is none of these.
            ValueError: if a sample has unknown columns, or lacks one that is not nullable.
        """
        keys, names = self._tree.keys(), self.names
        values: list[list[Any]] = [[] for _ in names]
        for number, sample in enumerate(samples, first):
            if self._is_flat and type(sample) is dict and sample.keys() == keys:
                for of_column, name in zip(values, names, strict=True):
                    of_column.append(sample[name])
            else:
                self._split(sample, self._tree, "", values, f"{where}: sample {number}", is_nullable)
        return values

    def _split(
        self,
        sample: Any,
        tree: dict[str, Any],
        prefix: str,
        values: list[list[Any]],
        where: str,
        is_nullable: Callable[[int], bool],
    ) -> None:
        # A group that is missing, or None, lacks all of its columns.
        fields = {} if prefix and sample is None else fields_of(sample)
        if fields is None:
            what = (
                f"column {prefix[:-1]!r}: expected a dict"
                if prefix
                else "expected a dict, a dataclass or a named tuple"
            )
            raise TypeError(f"{where}: {what}, got {type(sample).__name__}; nothing of this batch was stored")
        if fields.keys() - tree.keys():
            fields = undotted(fields, where)
        missing = [prefix + key for key, node in tree.items() if key not in fields and _is_needed(node, is_nullable)]
        check_missing(missing, [f"{prefix}{key}" for key in fields if key not in tree], where)
        for key, node in tree.items():
            if isinstance(node, dict):
                self._split(fields.get(key), node, f"{prefix}{key}.", values, where, is_nullable)
            else:
                values[node].append(fields.get(key))


def _is_needed(node: int | dict[str, Any], is_nullable: Callable[[int], bool]) -> bool:
    """Whether a column, or one in a group, must not miss."""
    if isinstance(node, dict):
        return any(_is_needed(inner, is_nullable) for inner in node.values())
    return not is_nullable(node)


def check_missing(missing: Sequence[str], unknown: Sequence[str], where: str) -> None:
    """Raise ValueError if there are columns that are missing, or unknown."""
    if missing or unknown:
        told = [f"lacks the column {missing[0]!r}"] if missing else []
        told += [f"has an unknown column {unknown[0]!r}"] if unknown else []
        remedy = (
            "only nullable columns may be missing, see set_nullable and nullable=True"
            if missing
            else "see schema, add_column, and the columns= of a build"
        )
        raise ValueError(f"{where}: {' and '.join(told)}; nothing of this batch was stored: {remedy}")


@lru_cache(maxsize=64)
def names_of(names: tuple[str, ...]) -> Names:
    """The names of columns; they are kept, since each commit asks for those of its dataset."""
    return Names(names)


def fields_of(sample: object) -> Mapping[str, Any] | None:
    """The fields of a dict, a dataclass or a named tuple; None for anything else."""
    if isinstance(sample, Mapping):
        return sample
    if dataclasses.is_dataclass(sample) and not isinstance(sample, type):
        return {item.name: getattr(sample, item.name) for item in dataclasses.fields(sample)}
    if isinstance(sample, tuple) and hasattr(sample, "_asdict"):
        return cast("Mapping[str, Any]", sample._asdict())
    return None


def undotted(fields: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Fields with dotted names as entries of dicts, which these names mean; the dicts are looked into by the caller.

    Raises:
        ValueError: if a name is given twice, or is also a group.
    """
    if not any(isinstance(name, str) and "." in name for name in fields):
        return fields
    record: dict[str, Any] = {}
    for name, value in fields.items():
        group, dot, rest = name.partition(".") if isinstance(name, str) else (name, "", "")
        if group not in record:
            record[group] = {rest: value} if dot else value
            continue
        before, added = (fields_of(entry) for entry in (record[group], {rest: value} if dot else value))
        if before is None or added is None:
            raise ValueError(f"{where}: column {group!r}: is also a group of columns ({group}.…); choose another name")
        if twice := before.keys() & added.keys():
            raise ValueError(
                f"{where}: column {f'{group}.{twice.pop()}'!r}: given twice, nested and with a dot; give it once"
            )
        record[group] = {**before, **added}
    return record


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with dotted names as nested dicts."""
    record: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        node = record
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = value
    return record


def flattened(values: Mapping[str, Any], prefix: str, where: str) -> Iterator[tuple[str, Any]]:
    """The dotted names and sequences of nested dicts.

    Raises:
        TypeError: if a value is not a sequence, or a name not a str.
    """
    for name, column in values.items():
        if not isinstance(name, str):
            raise TypeError(f"{where}: column {name!r:.80}: expected a str, got {type(name).__name__}")
        if isinstance(column, Mapping):
            yield from flattened(column, f"{prefix}{name}.", where)
        elif isinstance(column, str | bytes) or not hasattr(column, "__len__") or not hasattr(column, "__getitem__"):
            raise TypeError(
                f"{where}: column {prefix + name!r}: expected a sequence with a value for each sample, got "
                f"{type(column).__name__}"
            )
        else:
            yield prefix + name, column


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError for names that columns of records cannot have.

    Names are never used as names of files. A dot nests: `a.b` is the entry `b` of the dict `a`.
    """
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"{len(names)} columns; expected at most {MOST_COLUMNS}")
    known, groups = set[str](), set[str]()
    for name in names:
        if not 0 < len(name) <= MOST_CHARACTERS:
            raise ValueError(f"column {name!r:.80}: has {len(name)} characters; expected 1 to {MOST_CHARACTERS}")
        if not name.isprintable():  # which excludes lone surrogates
            raise ValueError(f"column {name!r}: has characters that cannot be printed; choose another name")
        if not all(name.split(".")):
            raise ValueError(f"column {name!r}: has an empty part; expected names separated by single dots")
        if name in known:
            raise ValueError(f"column {name!r}: the name occurs twice; choose another name")
        known.add(name)
        groups |= {name[:at] for at, character in enumerate(name) if character == "."}
    if both := sorted(known & groups):
        raise ValueError(f"column {both[0]!r}: is also a group of columns ({both[0]}.…); choose another name")


def with_groups(names: Sequence[str]) -> list[str]:
    """The names of columns, each after the groups that it is the first of."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        found |= dict.fromkeys(".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return list(found)
