"""The meta file of a generation, from bytes to values and back. `docs/format.md` is the specification."""

import json
import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn

from mmap_ninja.columns.json_values import without_tuples
from mmap_ninja.columns.nesting import check_names
from mmap_ninja.columns.types import Array, Binary, Column, ColumnType, Json, Ragged, Role, Text, decode_type
from mmap_ninja.errors import CorruptDatasetError, FormatVersionError
from mmap_ninja.format.lengths import FileRule, file_rules
from mmap_ninja.format.names import FILE_NAME, LEGACY_DATA
from mmap_ninja.format.slots import FORMAT_VERSION

META_SIZE_LIMIT: Final = 16 << 20
META_DEPTH_LIMIT: Final = 32
_METADATA_LIMIT: Final = (
    META_SIZE_LIMIT // 2
)  # half, since the meta file indents it one level deeper, and has other keys
FILE_ID_LIMIT: Final = 65_535  # the seed of a sum holds it and the block number in 64 bits

Kind = Literal["strings", "bytes", "array", "ragged", "records"]
_KINDS: Final = ("strings", "bytes", "array", "ragged", "records")
_KEYS: Final = {"format", "features", "uuid", "generation", "kind", "columns", "files", "metadata"}
_NUMBER_LIMIT: Final = 1 << 63  # since the kernel and NumPy use signed numbers
_IS_KNOWN: Final = operator.attrgetter("type.is_known")
_ID: Final = operator.attrgetter("id")
_UUID: Final = re.compile("[0-9a-f]{32}")
_COLUMN_TYPES: Final[dict[str, type[ColumnType]]] = {
    "strings": Text,
    "bytes": Binary,
    "array": Array,
    "ragged": Ragged,
}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a generation: `id` is its number in sums and digest, `column` is None if all columns share it."""

    id: int
    role: Role
    column: int | None
    name: str


@dataclass(frozen=True, slots=True)
class Meta:
    """The content of a generation's meta file; it is written once and never changed."""

    uuid: bytes
    generation: int
    kind: Kind
    columns: tuple[Column, ...]
    files: tuple[FileEntry, ...]
    metadata: dict[str, Any]
    # Derived from the fields above.
    rules: tuple[FileRule, ...] = field(init=False, repr=False, compare=False)  # one for each of `files`
    is_known: bool = field(init=False, repr=False, compare=False)  # whether all column types suffice to read samples
    undeclared: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)  # see `_undeclared`
    _places: dict[tuple[Role, int | None], int] = field(init=False, repr=False, compare=False)
    _encoded: bytes | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {(file.role, file.column): place for place, file in enumerate(self.files)}
        known = bool(self.columns) and all(map(_IS_KNOWN, self.columns))
        object.__setattr__(self, "is_known", known)
        object.__setattr__(self, "_places", places)
        object.__setattr__(self, "rules", file_rules(self.columns))
        object.__setattr__(self, "undeclared", tuple(self._undeclared()))

    def index(self, role: Role, column: int | None = None) -> int:
        """Position in `files` of the file with this role."""
        return self._places[role, column]

    def _undeclared(self) -> Iterator[tuple[int, int]]:
        """Positions of ragged columns whose dtype is that of their first elements, and of their payloads in `files`."""
        for place, column in enumerate(self.columns):
            if isinstance(column.type, Ragged) and column.type.is_known and not column.type.declared:
                yield place, self.index("data", column.id)

    @property
    def edits_index(self) -> int:
        """Position in `files` of the edits file; only the sums come after it."""
        return len(self.files) - 2

    @property
    def numbering(self) -> tuple[bytes, str]:
        """Equal for two generations with the same row numbers: then the edits of one apply to the rows of the other."""
        return self.uuid, self.files[-2].name

    @property
    def reads_as_itself(self) -> bool:
        """Whether reading its file is certain to succeed and to give an equal value."""
        ids = [*map(_ID, self.files), *map(_ID, self.columns)]
        return (
            not self.metadata  # the user could change it
            # A file holds less of a dtype than NumPy does; a name can be of a subclass of str.
            and all(type(c.name) is str and isinstance(c.type, Text | Binary | Json) for c in self.columns)
            and max(ids) <= FILE_ID_LIMIT
            and self.generation < _NUMBER_LIMIT
            and len(self.encode()) <= META_SIZE_LIMIT
        )

    def encode(self) -> bytes:
        """The content of the generation's meta file."""
        if self._encoded is not None:
            return self._encoded
        document = {
            "format": FORMAT_VERSION,
            "features": 0,
            "uuid": self.uuid.hex(),
            "generation": self.generation,
            "kind": self.kind,
            "columns": [{"id": c.id, "name": c.name, "type": c.type.name, **c.type.to_json()} for c in self.columns],
            "files": [{"id": f.id, "role": f.role, "column": f.column, "name": f.name} for f in self.files],
            "metadata": self.metadata,
        }
        encoded = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1).encode()
        object.__setattr__(self, "_encoded", encoded)  # slow, and called several times
        return encoded


def new_meta(
    kind: Kind,
    generation: int,
    uuid: bytes,
    columns: tuple[Column, ...],
    metadata: dict[str, Any],
    kept: tuple[FileEntry, ...] = (),
) -> Meta:
    """The meta of a generation that keeps the files `kept` of another, and has new ones for the rest."""
    entries = {(file.role, file.column): file for file in kept}
    next_id = 1 + max(map(_ID, kept), default=0)
    files = []
    for role, column in _roles(columns):
        file = entries.get((role, column))
        if file is None:
            stem = role if column is None else f"c{column}.{role}"
            file = FileEntry(next_id, role, column, f"{stem}-{generation}")
            next_id += 1
        files.append(file)
    return Meta(uuid, generation, kind, columns, tuple(files), metadata)


def _roles(columns: tuple[Column, ...]) -> list[tuple[Role, int | None]]:
    """The files of a generation in the order of writing: payload before offsets before sums."""
    roles: list[tuple[Role, int | None]] = []
    for column in columns:
        roles += [(role, column.id) for role in column.type.files()]
    return [*roles, ("edits", None), ("sums", None)]


def first_columns(kind: Kind) -> tuple[Column, ...]:
    """The columns of an empty dataset; for records, none are known yet."""
    if kind == "records":
        return ()
    return one_column(_COLUMN_TYPES[kind]())


def one_column(column: ColumnType) -> tuple[Column, ...]:
    """The columns of a dataset with only one, which has no name."""
    return (Column(0, "", column),)


def checked_metadata(metadata: object, where: str = "") -> dict[str, Any]:
    """User metadata as JSON stores it: a copy, with lists in place of tuples.

    Raises:
        TypeError, ValueError: if JSON cannot hold it.
    """
    if not isinstance(metadata, dict):
        raise TypeError(f"{where}metadata: expected a dict, got {type(metadata).__name__}")
    try:
        encoded = json.dumps(metadata, ensure_ascii=False, allow_nan=False, indent=1)
        size = len(encoded.encode())
        document: dict[str, Any] = json.loads(encoded)
        _check_depth(document, depth=1)  # its depth in the meta file
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{where}metadata: {error}; expected values that JSON can hold") from None
    if size > _METADATA_LIMIT:
        raise ValueError(
            f"{where}metadata: got {size} bytes of JSON, expected at most {_METADATA_LIMIT}; store large values in "
            "files"
        )
    if document not in (metadata, without_tuples(metadata)):
        raise TypeError(f"{where}metadata: JSON would change it; use str keys, and lists instead of named tuples")
    return document


def decode_meta(data: bytes, where: str) -> Meta:
    """Parse a meta file's content and check all of it.

    Raises:
        CorruptDatasetError: if anything is missing or of a wrong type, or a file name leads out of the directory.
        FormatVersionError: if the format is newer.
    """
    document = _decode_header(data, where)
    kind = document["kind"]
    columns = _decode_columns(document["columns"], kind, where)
    files = _decode_files(document["files"], kind, columns, where)
    metadata = _typed(document["metadata"], dict, "metadata", where)
    try:
        _check_depth(metadata, depth=1)  # the rest has a fixed depth, and is checked below
    except ValueError as error:
        raise _refusal(where, f"metadata {error}", "less nesting") from None
    generation = _unsigned(document["generation"], "generation", where)
    return Meta(bytes.fromhex(document["uuid"]), generation, kind, columns, files, metadata)


def _decode_header(data: bytes, where: str) -> dict[str, Any]:
    """The document; all but its columns, files and metadata is checked."""
    if len(data) > META_SIZE_LIMIT:
        raise _refusal(where, f"{len(data)} bytes", f"at most {META_SIZE_LIMIT}")
    try:
        document = json.loads(data.decode(), object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _refusal(where, f"invalid JSON ({error})", "a JSON object") from None
    if type(document) is not dict:
        raise _refusal(where, type(document).__name__, "a JSON object")
    version = document.get("format")
    if (type(version) is int and version > FORMAT_VERSION) or document.get("features"):
        raise FormatVersionError(
            f"{where}: format version {version}, features {document.get('features')!r}; this version of mmap_ninja "
            f"reads format {FORMAT_VERSION} without features: upgrade mmap_ninja"
        )
    if version != FORMAT_VERSION or document.keys() != _KEYS:
        found = f"format {version!r} with keys {sorted(document)}"
        raise _refusal(where, found, f"format {FORMAT_VERSION} with {sorted(_KEYS)}")
    uuid, kind = _typed(document["uuid"], str, "uuid", where), document["kind"]
    if not _UUID.fullmatch(uuid):
        raise _refusal(where, f"uuid {uuid!r:.80}", "32 hexadecimal digits")
    if type(kind) is not str or kind not in _KINDS:
        raise _refusal(where, f"kind {kind!r:.80}", f"one of {sorted(_KINDS)}")
    return document


def _decode_columns(entries: object, kind: Kind, where: str) -> tuple[Column, ...]:
    columns = [_decode_column(entry, where) for entry in _typed(entries, list, "columns", where)]
    names, ids = [column.name for column in columns], [column.id for column in columns]
    if kind == "records":
        try:
            check_names(names)
        except ValueError as error:
            raise _refusal(where, f"columns {names!r:.200} ({error})", "names of columns") from None
        if len(set(ids)) != len(ids) or max(ids, default=0) > FILE_ID_LIMIT:
            raise _refusal(where, f"columns with the ids {ids!r:.80}", f"different ones up to {FILE_ID_LIMIT}")
    elif names != [""] or not isinstance(columns[0].type, _COLUMN_TYPES[kind]) or columns[0].type.nullable:
        expected = f"one {_COLUMN_TYPES[kind].name} column without a name for kind {kind!r}"
        raise _refusal(where, f"columns {columns!r:.200}", expected)
    return tuple(columns)


def _decode_column(entry: object, where: str) -> Column:
    document: dict[str, Any] = _typed(entry, dict, "column", where)
    if not {"id", "name", "type"} <= document.keys():
        raise _refusal(where, f"column {document!r:.80}", "id, name and type")
    try:
        column_type = decode_type(document)
    except (ValueError, TypeError, RecursionError) as error:
        raise _refusal(where, f"column {document!r:.80} ({error})", "a type that this version knows") from None
    except ImportError as error:
        raise ImportError(f"{where}: a dtype needs a package that is not installed ({error})") from None
    number = _unsigned(document["id"], "column id", where)
    return Column(number, _typed(document["name"], str, "name", where), column_type)


def _decode_files(entries: object, kind: Kind, columns: tuple[Column, ...], where: str) -> tuple[FileEntry, ...]:
    adopting = None if kind == "records" else columns[0].id
    files = tuple([_decode_file(entry, adopting, where) for entry in _typed(entries, list, "files", where)])
    expected = _roles(columns)
    if [(file.role, file.column) for file in files] != expected or len({file.id for file in files}) != len(files):
        raise _refusal(
            where,
            f"files {[file.name for file in files]!r:.200}",
            f"files of the roles {[role for role, _ in expected]}, in this order",
        )
    return files


def _decode_file(entry: object, adopting: int | None, where: str) -> FileEntry:
    """The entry of a file; `adopting`: the column whose payload may be that of 0.x."""
    if not isinstance(entry, dict) or entry.keys() != {"id", "role", "column", "name"}:
        raise _refusal(where, f"file {entry!r:.80}", "id, role, column and name")
    name = entry["name"]
    match = FILE_NAME.fullmatch(name) if isinstance(name, str) else None
    column = int(match["column"]) if match and match["column"] else None
    role: Any = match["of_column"] or match["shared"] if match else None
    if name == LEGACY_DATA and adopting is not None:
        role, column = "data", adopting
    if role is None or role != entry["role"] or column != entry["column"]:
        raise _refusal(where, f"file {entry!r:.200}", "a name made of the file's role and column")
    number = _unsigned(entry["id"], "file id", where)
    if not 1 <= number <= FILE_ID_LIMIT:
        raise _refusal(where, f"file id {number}", f"1 to {FILE_ID_LIMIT}")
    return FileEntry(number, role, column, name)


def _refusal(where: str, found: object, expected: str) -> CorruptDatasetError:
    return CorruptDatasetError(f"{where}: {found} where {expected} was expected; restore the file from a copy")


def _typed(value: object, kind: type, name: str, where: str) -> Any:
    if type(value) is not kind:
        raise _refusal(where, f"{name} is {value!r:.80}", kind.__name__)
    return value


def _unsigned(value: object, name: str, where: str) -> int:
    if type(value) is not int:
        raise _refusal(where, f"{name} is {value!r:.80}", "int")
    if not 0 <= value < _NUMBER_LIMIT:
        raise _refusal(where, f"{name} is {value}", "a number from 0 to 2^63 - 1")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key occurs twice")
    return keys


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: object, depth: int = 0) -> None:
    if depth > META_DEPTH_LIMIT:
        raise ValueError(f"nested deeper than {META_DEPTH_LIMIT}")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        _check_depth(child, depth + 1)
