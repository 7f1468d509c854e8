"""Files of TFRecord: records of the features of `tf.train.Example`, or bytes.

The files need no TensorFlow: each record is its length, u64, the CRC of that, its bytes and the CRC of those, where a
CRC is a masked CRC-32C (`tensorflow/core/lib/io/record_writer.h`). Examples are parsed by protobuf.
"""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from io import BufferedIOBase
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmap_ninja import _kernel
from mmap_ninja.columns import specs
from mmap_ninja.conversion.from_texts import decoded
from mmap_ninja.conversion.libraries import imported
from mmap_ninja.conversion.shards import Shards, made_of, shards_at
from mmap_ninja.conversion.source import Skipped, Source, Wanted

FORM: Final = "TFRecord"
# Also without a suffix: ImageNet's files are called train-00000-of-01024.
NAMES: Final = re.compile(rb"(\.tfrecords?(-\d+-of-\d+)?|-\d{5}-of-\d{5})(\.gz)?\0")

_HEADER: Final = struct.Struct("<QI")
_CRC: Final = struct.Struct("<I")
_MOST_BYTES: Final = 1 << 31  # of a message of protobuf; no writer makes longer records
_DTYPES: Final = {"int64_list": "int64", "float_list": "float32"}
# The parts of tensorflow/core/example/{example,feature}.proto.
_SCHEMA: Final = """
name: "mmap_ninja/example.proto" package: "mmap_ninja" syntax: "proto3"
message_type { name: "BytesList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "FloatList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT } }
message_type { name: "Int64List" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
message_type {
  name: "Feature" oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 oneof_index: 0 type: TYPE_MESSAGE type_name: "BytesList" }
  field { name: "float_list" number: 2 oneof_index: 0 type: TYPE_MESSAGE type_name: "FloatList" }
  field { name: "int64_list" number: 3 oneof_index: 0 type: TYPE_MESSAGE type_name: "Int64List" }
}
message_type {
  name: "Features"
  field { name: "feature" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "FeatureEntry" }
  nested_type {
    name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: "Feature" }
  }
}
message_type { name: "Example" field { name: "features" number: 1 type: TYPE_MESSAGE type_name: "Features" } }
"""


def records(path: Path, wanted: Wanted) -> Source:
    """A file, or a folder of shards."""
    paths = shards_at(path, lambda files: files.matching(NAMES))
    plain = Shards(paths, _records, wanted.skipped)
    examples = None if wanted.kind == "bytes" else _examples(plain.first(), path)
    several = f", {len(paths)} files" if len(paths) > 1 else ""
    if examples is None:
        return Source(form=f"{FORM} of bytes{several}", kind="bytes", samples=plain, place=plain.place)
    columns = _columns(examples, wanted, path)
    parse = _message(path)

    def read(file: Path, skipped: Skipped | None) -> Iterator[tuple[str, Any]]:
        return made_of(_records(file, skipped), lambda place, record: _sample(parse, record, columns, place), skipped)

    samples = Shards(paths, read, wanted.skipped)
    return Source(
        form=f"{FORM} of tf.train.Example{several}",
        kind="records",
        samples=samples,
        columns=columns,
        place=samples.place,
    )


def _records(path: Path, skipped: Skipped | None) -> Iterator[tuple[str, bytes]]:
    """The records of a file. Where a length is damaged, nobody knows where the next record begins: the rest is lost."""
    with _opened(path) as file:
        start = 0
        while True:
            place = f"{path}, byte {start}"
            try:
                length = _length(file, place)
                if length is None:
                    return
                record, crc = _exactly(file, length, place), _exactly(file, _CRC.size, place)
            except ValueError as error:
                if skipped is None:
                    raise
                skipped.note(place, error)
                return
            start += _HEADER.size + length + _CRC.size
            if _masked_crc(record) == _CRC.unpack(crc)[0]:
                yield place, record
                continue
            damaged = ValueError(f"{place}: a record of {length} bytes is damaged: its CRC is not that of its bytes")
            if skipped is None:
                raise damaged
            skipped.note(place, damaged)


def _opened(path: Path) -> BufferedIOBase:
    """A file, or what is packed in it: many are packed and not called so."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    is_packed = header.startswith(b"\x1f\x8b") and _masked_crc(header[:8]) != int.from_bytes(header[8:], "little")
    return gzip.open(path) if is_packed else path.open("rb")


def _length(file: BufferedIOBase, place: str) -> int | None:
    """The length of the next record; None at the end of the file."""
    header = _read(file, _HEADER.size, place)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise ValueError(f"{place}: the file ends within a record; copy or write it again")
    length, crc = _HEADER.unpack(header)
    if _masked_crc(header[:8]) != crc or length >= _MOST_BYTES:
        raise ValueError(
            f"{place}: expected a record of TFRecord: the CRC of its length is not that; the file is another one, or "
            "damaged from here on"
        )
    return int(length)


def _exactly(file: BufferedIOBase, size: int, place: str) -> bytes:
    data = _read(file, size, place)
    if len(data) < size:
        raise ValueError(f"{place}: the file ends within a record; copy or write it again")
    return data


def _read(file: BufferedIOBase, size: int, place: str) -> bytes:
    try:
        return file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{place} of what is packed in it: cannot be unpacked ({error})") from None


def _masked_crc(data: bytes) -> int:
    crc = _kernel.crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@lru_cache(maxsize=1)
def _message(path: Path) -> Callable[[bytes], Any]:
    """The function that parses an Example.

    Raises:
        ImportError: if protobuf is missing.
    """
    imported("google.protobuf", "tfrecord", path)
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format  # noqa: PLC0415

    # A pool of its own: TensorFlow's may have the same messages.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto()))
    example: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("mmap_ninja.Example"))
    parse: Callable[[bytes], Any] = example.FromString
    return parse


def _examples(records: list[bytes], path: Path) -> list[Any] | None:
    """The first records as Examples; None if one is something else."""
    if not records:
        return None
    parse, examples = _message(path), list[Any]()
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from google.protobuf.unknown_fields import UnknownFieldSet  # noqa: PLC0415

    for record in records:
        try:
            example = parse(record)
        except DecodeError:
            return None
        if len(UnknownFieldSet(example)) or len(UnknownFieldSet(example.features)):
            return None
        examples.append(example)
    return examples if any(example.features.feature for example in examples) else None


def _columns(examples: Sequence[Any], wanted: Wanted, path: Path) -> dict[str, specs.Spec]:
    """A column for each feature of the first Examples."""
    found: dict[str, specs.Spec] = {}
    for name in sorted({name for example in examples for name in example.features.feature}):
        # One that an Example lacks is an empty one.
        features = [example.features.feature[name] for example in examples]
        found[name] = wanted.columns.get(name) or _spec(features, f"{path}: feature {name!r}")
    return {**found, **wanted.columns}


def _spec(features: list[Any], where: str) -> specs.Spec:
    """The type of a column for the values of a feature."""
    kinds = {feature.WhichOneof("kind") for feature in features} - {None}
    if len(kinds) != 1:
        found = " and ".join(sorted(kinds)) or "no value"
        raise ValueError(f"{where}: expected values of one type in the first examples, found {found}; declare it")
    (kind,) = kinds
    values = [getattr(feature, kind).value for feature in features]
    lengths = {len(of) for of in values}
    if not lengths <= {0, 1}:
        if kind != "bytes_list":
            return specs.Ragged(_DTYPES[kind], ndim=1)
        for value in chain.from_iterable(values):
            decoded(value, f"{where}: no column holds several bytes a sample, only texts")
        return specs.Json()
    is_nullable = 0 in lengths
    return specs.Scalar(_DTYPES[kind], nullable=is_nullable) if kind in _DTYPES else specs.Bytes(nullable=is_nullable)


def _sample(parse: Callable[[bytes], Any], record: bytes, columns: dict[str, specs.Spec], place: str) -> dict[str, Any]:
    """The features of an Example; what it lacks is as good as empty, as for TensorFlow."""
    try:
        features = parse(record).features.feature
    except Exception as error:  # noqa: BLE001 - DecodeError is no ValueError
        raise ValueError(f"{place}: expected a tf.train.Example ({error})") from None
    sample = {name: _value(features[name], spec, f"{place}: feature {name!r}") for name, spec in columns.items()}
    if len(features) > len(columns):
        others = sorted(features.keys() - columns.keys())
        raise ValueError(f"{place}: features {others!r:.200} are in none of the first examples; declare their columns")
    return sample


def _value(feature: Any, spec: specs.Spec, where: str) -> Any:
    """What a column stores of a feature."""
    kind = feature.WhichOneof("kind")
    values: Sequence[Any] = () if kind is None else getattr(feature, kind).value
    are_bytes = kind == "bytes_list"
    match spec:
        case specs.Json():
            return [decoded(value, where) for value in values] if are_bytes else list(values)
        case specs.Ragged() if not are_bytes:
            return np.fromiter(values, _DTYPES.get(kind, spec.dtype), len(values))
        case specs.Array() if not are_bytes and len(values) == math.prod(spec.shape):
            return np.fromiter(values, _DTYPES.get(kind, spec.dtype), len(values)).reshape(spec.shape)
        case specs.Text() | specs.Bytes() | specs.Scalar() if not values:
            return None
        case specs.Text() if are_bytes and len(values) == 1:
            return decoded(values[0], where)
        case specs.Bytes() | specs.Scalar() if len(values) == 1 and are_bytes == isinstance(spec, specs.Bytes):
            return values[0]
    found = f"{len(values)} values of {kind}"
    raise ValueError(f"{where}: found {found}, which is none for {specs.declared(spec)}; declare another column")
