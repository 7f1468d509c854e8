"""The on-disk format, without I/O: bytes to values and back. `docs/format.md` is the specification.

The slots of the commit file are laid out by the kernel, which reads and writes them on the hot path.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn, cast

from mmap_ninja.columns.nesting import check_names
from mmap_ninja.columns.types import Array, Binary, Column, ColumnType, Ragged, Role, Rule, Text, decode_type
from mmap_ninja.errors import CorruptDatasetError, FormatVersionError
from mmap_ninja.format.names import FILE_NAME, LEGACY_DATA
from mmap_ninja.format.slots import EDIT_SIZE, FORMAT_VERSION

META_SIZE_LIMIT: Final = 16 << 20
META_DEPTH_LIMIT: Final = 32
_METADATA_LIMIT: Final = META_SIZE_LIMIT // 2  # indented one level deeper in the meta file, beside the other keys
FILE_ID_LIMIT: Final = 65_535  # it shares 64 bits with the block number in the seed of a sum

Kind = Literal["strings", "bytes", "array", "ragged", "records"]
_KINDS: Final = ("strings", "bytes", "array", "ragged", "records")
_COLUMN_TYPES: Final[dict[str, type[ColumnType]]] = {
    "strings": Text,
    "bytes": Binary,
    "array": Array,
    "ragged": Ragged,
}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a generation: `id` names it in sums and digest, `column` is None where all columns share it."""

    id: int
    role: Role
    column: int | None
    name: str


@dataclass(frozen=True, slots=True)
class Extent:
    """The length rule of one file."""

    rule: Rule
    unit: int
    offsets: int  # index of the offsets file that a payload's length is read from
    sealed: bool  # its complete blocks have sums, and its end is in the digest


@dataclass(frozen=True, slots=True)
class Meta:
    """What one generation consists of; written once, never changed."""

    uuid: bytes
    generation: int
    kind: Kind
    columns: tuple[Column, ...]
    files: tuple[FileEntry, ...]
    metadata: dict[str, Any]

    def index(self, role: Role, column: int | None = None) -> int:
        """Position in `files` of the file with this role."""
        return next(k for k, file in enumerate(self.files) if (file.role, file.column) == (role, column))

    @property
    def edits_index(self) -> int:
        """Position in `files` of the edits file: all but the sums are before it."""
        return len(self.files) - 2

    @property
    def numbering(self) -> tuple[bytes, str]:
        """What two generations share that number the same rows alike: then one's edits speak of the other's rows."""
        return self.uuid, self.files[-2].name

    def extents(self) -> list[Extent]:
        """The length rule of each of `files`, in their order."""
        columns = {column.id: column.type for column in self.columns}
        extents = []
        for file in self.files:
            if file.role == "edits":
                extents.append(Extent(Rule.EDITS, EDIT_SIZE, 0, sealed=True))
            elif file.role == "sums":
                extents.append(Extent(Rule.SUMS, 24, 0, sealed=False))
            else:
                column = columns[cast(int, file.column)]
                rule, unit = column.files()[file.role]
                offsets = self.index("offsets", file.column) if rule is Rule.PAYLOAD else 0
                unsealed = isinstance(column, Array) and not column.sealed
                extents.append(Extent(rule, unit, offsets, sealed=not unsealed))
        return extents

    def encode(self) -> bytes:
        """The content of the generation's meta file."""
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
        return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1).encode()


def new_meta(
    kind: Kind,
    generation: int,
    uuid: bytes,
    columns: tuple[Column, ...],
    metadata: dict[str, Any],
    kept: tuple[FileEntry, ...] = (),
) -> Meta:
    """The meta of a generation that goes on with the `kept` files of another, and has new ones for the rest."""
    # Payload before offsets before sums: the order in which a commit writes them.
    roles: list[tuple[Role, int | None]] = [(role, column.id) for column in columns for role in column.type.files()]
    entries = {(file.role, file.column): file for file in kept}
    next_id = max((file.id for file in kept), default=0) + 1
    for role, column in [*roles, ("edits", None), ("sums", None)]:
        if (role, column) not in entries:
            stem = role if column is None else f"c{column}.{role}"
            entries[role, column] = FileEntry(next_id, role, column, f"{stem}-{generation}")
            next_id += 1
    order = [*roles, ("edits", None), ("sums", None)]
    return Meta(uuid, generation, kind, columns, tuple(entries[key] for key in order), metadata)


def first_columns(kind: Kind) -> tuple[Column, ...]:
    """The columns of an empty dataset: of records, none are known yet."""
    if kind == "records":
        return ()
    return one_column(_COLUMN_TYPES[kind]())


def one_column(column: ColumnType) -> tuple[Column, ...]:
    """The columns of a dataset that has one, which has no name."""
    return (Column(0, "", column),)


def check_metadata(metadata: object) -> None:
    """Raise TypeError or ValueError for user metadata that JSON cannot hold."""
    if not isinstance(metadata, dict):
        raise TypeError(f"metadata: expected a dict, got {type(metadata).__name__}")
    try:
        encoded = json.dumps(metadata, ensure_ascii=False, allow_nan=False, indent=1)
        size = len(encoded.encode())
        document = json.loads(encoded)
        _check_depth(document, depth=1)  # as deep as it lies in the meta file
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"metadata: {error}; it must hold what JSON can") from None
    if size > _METADATA_LIMIT:
        raise ValueError(
            f"metadata: {size} bytes of JSON, expected at most {_METADATA_LIMIT}; store large values as files"
        )
    if document != metadata:
        raise TypeError("metadata: it would come back changed from JSON; use str keys, lists instead of tuples")


def decode_meta(data: bytes, where: str) -> Meta:
    """Parse a meta file's content and check all that it says.

    Raises:
        CorruptDatasetError: if anything is missing, of a wrong type, or names a file outside the directory.
        FormatVersionError: if it is of a newer format.
    """

    def refuse(found: object, expected: str) -> NoReturn:
        raise CorruptDatasetError(f"{where}: {found} where {expected} was expected; restore the file from a copy")

    def typed(value: object, kind: type, name: str) -> Any:
        if type(value) is not kind:
            refuse(f"{name} is {value!r:.80}", kind.__name__)
        return value

    def unsigned(value: object, name: str) -> int:
        number: int = typed(value, int, name)
        if not 0 <= number < 1 << 63:
            refuse(f"{name} is {number}", "a number below 2^63")
        return number

    if len(data) > META_SIZE_LIMIT:
        refuse(f"{len(data)} bytes", f"at most {META_SIZE_LIMIT}")
    try:
        document = json.loads(data.decode(), object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        refuse(f"invalid JSON ({error})", "a JSON object")
    if type(document) is not dict:
        refuse(type(document).__name__, "a JSON object")
    version = document.get("format")
    if (type(version) is int and version > FORMAT_VERSION) or document.get("features"):
        raise FormatVersionError(
            f"{where}: format version {version}, features {document.get('features')!r}; this version of mmap_ninja "
            f"reads format {FORMAT_VERSION} without features: upgrade mmap_ninja"
        )
    keys = {"format", "features", "uuid", "generation", "kind", "columns", "files", "metadata"}
    if version != FORMAT_VERSION or set(document) != keys:
        refuse(f"format {version!r} with keys {sorted(document)}", f"format {FORMAT_VERSION} with {sorted(keys)}")
    uuid = typed(document["uuid"], str, "uuid")
    if not re.fullmatch("[0-9a-f]{32}", uuid):
        refuse(f"uuid {uuid!r:.80}", "32 hexadecimal digits")
    kind = document["kind"]
    if type(kind) is not str or kind not in _KINDS:
        refuse(f"kind {kind!r:.80}", f"one of {sorted(_KINDS)}")

    columns = []
    for entry in typed(document["columns"], list, "columns"):
        if not {"id", "name", "type"} <= set(typed(entry, dict, "column")):
            refuse(f"column {entry!r:.80}", "id, name and type")
        try:
            column_type = decode_type(entry)
        except (ValueError, TypeError, RecursionError) as error:
            refuse(f"column {entry!r:.80} ({error})", "a type that this version knows")
        except ImportError as error:
            raise ImportError(f"{where}: its dtype needs a package that is not installed ({error})") from None
        columns.append(Column(unsigned(entry["id"], "column id"), typed(entry["name"], str, "name"), column_type))
    names, ids = [column.name for column in columns], [column.id for column in columns]
    if kind == "records":
        try:
            check_names(names)
        except ValueError as error:
            refuse(f"columns {names!r:.200} ({error})", "names of columns")
        if len(set(ids)) != len(ids) or max(ids, default=0) > FILE_ID_LIMIT:
            refuse(f"columns with the ids {ids!r:.80}", f"different ones up to {FILE_ID_LIMIT}")
    elif names != [""] or not isinstance(columns[0].type, _COLUMN_TYPES[kind]) or columns[0].type.nullable:
        refuse(f"columns {columns!r:.200}", f"one {_COLUMN_TYPES[kind].name} column without a name for kind {kind!r}")

    files = []
    for entry in typed(document["files"], list, "files"):
        if set(typed(entry, dict, "file")) != {"id", "role", "column", "name"}:
            refuse(f"file {entry!r:.80}", "id, role, column and name")
        name = typed(entry["name"], str, "file name")
        match = FILE_NAME.fullmatch(name)
        column = int(match["column"]) if match and match["column"] else None
        role = match["of_column"] or match["shared"] if match else None
        if name == LEGACY_DATA and kind != "records":
            role, column = "data", columns[0].id
        if role is None or role != entry["role"] or column != entry["column"]:
            refuse(f"file {entry!r:.200}", "a name that says the file's role and column")
        if not 1 <= unsigned(entry["id"], "file id") <= FILE_ID_LIMIT:
            refuse(f"file id {entry['id']}", f"1 to {FILE_ID_LIMIT}")
        files.append(FileEntry(entry["id"], cast(Role, role), column, name))
    expected = [*((role, c.id) for c in columns for role in c.type.files()), ("edits", None), ("sums", None)]
    if [(file.role, file.column) for file in files] != expected or len({file.id for file in files}) != len(files):
        refuse(
            f"files {[file.name for file in files]!r:.200}",
            f"files of the roles {[role for role, _ in expected]}, in this order",
        )
    metadata = typed(document["metadata"], dict, "metadata")
    try:
        _check_depth(metadata, depth=1)  # all else has a fixed depth, and is checked
    except ValueError as error:
        refuse(f"metadata {error}", "JSON of less depth")
    generation = unsigned(document["generation"], "generation")
    return Meta(bytes.fromhex(uuid), generation, cast(Kind, kind), tuple(columns), tuple(files), metadata)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key occurs twice")
    return keys


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _check_depth(value: object, depth: int = 0) -> None:
    if depth > META_DEPTH_LIMIT:
        raise ValueError(f"nested deeper than {META_DEPTH_LIMIT}")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        _check_depth(child, depth + 1)
