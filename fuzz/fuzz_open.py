"""Opens and reads damaged directories: the result must be samples, or errors of this library.

python fuzz/fuzz_open.py build/inputs            with atheris, which is guided by coverage; options of libFuzzer python
fuzz/fuzz_open.py -runs=1000 -seed=1        without atheris: random bytes
"""

import base64
import contextlib
import functools
import json
import os
import pickle
import random
import shutil
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

atheris = None
if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import atheris

        with atheris.instrument_imports(include=["mmap_ninja"]):
            import mmap_ninja

import mmap_ninja  # noqa: E402
from mmap_ninja import MmapNinjaError, _kernel  # noqa: E402
from mmap_ninja.format.names import COMMIT  # noqa: E402
from support.kinds import KINDS  # noqa: E402

GOLDEN = ROOT / "tests" / "golden"
LEGACY = [
    "array-1d", "array-f", "array-object", "array-structure", "ragged-1d", "ragged-2d", "ragged-mixed",
    "ragged-scalars", "strings", "strings-zstd", "strings-zstd-dictionary",
]  # fmt: skip
NUMBERS = [0, 1, 2, 3, 7, 8, 12, 64, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**40, 2**59, 2**60, 2**61, 2**62,
           2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1]  # fmt: skip
VALUES = [
    None, True, False, -1, 0.5, 1e300, "", "0", "zstd", "text", "json", "binary", "array", "ragged", "strings",
    "bytes", "records", "data", "offsets", "<f4", "|O", "<U999999999", "|V8", ">M8[ns]", "bfloat16", "int4", "a.b", "a",
    "..", "/etc/passwd", "c0.data-1", "c1.data-1", "sums-1", "data.ninja", "COMMIT", [], {}, [0], [1, 1], [1, 2],
    [2**40, 0], [0, 2**62], [2**31, 2**31], [1] * 33, [["a", "<i4"]], [["", "|V4"]], [["a", "<i4", [2, 2]]], *NUMBERS,
]  # fmt: skip
MOST_SAMPLES = 1000  # of a dataset that is read completely: rows of 0 bytes cost a hostile file nothing


class Bytes:
    """The fuzzer's bytes as choices; zeros when they run out."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def number(self, size):
        part = self.data[self.at : self.at + size]
        self.at += size
        return int.from_bytes(part, "little")

    def below(self, end):
        return self.number(1 if end <= 256 else 2) % end if end else 0

    def choose(self, options):
        return options[self.below(len(options))]

    def value(self):
        """A number: an interesting one, or any."""
        kind = self.below(4)
        return self.number(8) if kind == 3 else (self.choose(NUMBERS) + kind) % 2**64


@functools.cache
def templates():
    """Intact directories: the content of each file, by its name."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in KINDS.items():
            dataset, _ = kind.edited(Path(folder, name))
            found.append(contents(Path(folder, name)))
            dataset.close()
            found.append(contents(Path(folder, name)))
        dictionary = Path(folder, "dictionary")
        mmap_ninja.StringsMmap.from_strings(
            dictionary, [f"review {number} of a film" for number in range(300)], zstd_level=1,
            zstd_train_dictionary_size=256,
        ).close()  # fmt: skip
        found.append(contents(dictionary))
    return found + [contents(GOLDEN / f"0.9.0-{name}") for name in LEGACY]


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


# ---- damage


def damage_bytes(files, choices):
    """Change some bytes of a file."""
    name = choices.choose(sorted(files))
    content = bytearray(files[name])
    at = choices.below(len(content) + 1)
    match choices.below(8):
        case 0:
            content[at : at + 1] = bytes([content[at] ^ 1 << choices.below(8)]) if at < len(content) else b""
        case 1:
            at = at // 8 * 8
            content[at : at + 8] = struct.pack("<Q", choices.value())
        case 2:
            del content[at:]
        case 3:
            del content[at : at + choices.below(64)]
        case 4:
            content[at:at] = bytes(choices.number(1) for _ in range(choices.below(40)))
        case 5:
            content = bytearray(files[choices.choose(sorted(files))])
        case 6:
            at = at // 4 * 4
            content[at : at + 4] = struct.pack("<I", choices.value() % 2**32)
        case _:
            del files[name]
            return
    files[name] = bytes(content)


def damage_slots(files, choices):
    """Change a field of one slot or of all, with a correct checksum."""
    field, value, which = choices.choose([10, 12, 16, *range(24, 144, 8)]), choices.value(), choices.below(8)
    for place in range(_kernel.SLOTS) if which >= _kernel.SLOTS else [which]:
        change_slot(files, place, field, struct.pack("<Q", value)[: 4 if field < 24 else 8])


def damage_meta(files, choices):
    """Change a value in the JSON of a meta file, with its digest in the slots."""
    name = choices.choose([name for name in sorted(files) if name.startswith("meta-")])
    with contextlib.suppress(ValueError):  # already damaged
        document = json.loads(files[name])
        node, path = document, []
        while isinstance(node, dict | list) and node and (not path or choices.below(8)):
            path.append((node, choices.choose(list(node) if isinstance(node, dict) else range(len(node)))))
            node = node[path[-1][1]]
        if path:
            parent, key = path[-1]
            match choices.below(6):
                case 0:
                    del parent[key]
                case 1 if isinstance(parent, list):
                    parent.append(node)
                case 2 if isinstance(parent, dict):
                    parent[str(choices.choose(VALUES))] = node
                case 3 if isinstance(node, str):
                    at = choices.below(len(node) + 1)
                    parent[key] = node[:at] + chr(choices.below(0x300)) + node[at + choices.below(2) :]
                case 4:
                    parent[key] = choices.value() - choices.below(2) * 2**63
                case _:
                    parent[key] = choices.choose(VALUES)
        files[name] = json.dumps(document).encode()
    name_meta(files)


def damage_json(files, choices):
    """Change bytes of a meta file, with its digest in the slots."""
    name = choices.choose([name for name in sorted(files) if name.startswith("meta-")])
    part = {name: files[name]}
    damage_bytes(part, choices)
    files |= part
    name_meta(files)


def name_meta(files):
    """Write the digest of the newest meta file to every slot."""
    for place in range(_kernel.SLOTS):
        slot = slot_of(files, place)
        meta = files.get(f"meta-{slot.generation}.json") if slot else None
        if meta is not None:
            change_slot(files, place, 128, struct.pack("<Q", _kernel.xxh64(meta)))


def slot_of(files, place):
    at = place * _kernel.SLOT_STRIDE
    content = files.get(COMMIT, b"")[at : at + _kernel.SLOT_SIZE]
    return _kernel.decode_slot(content)[1] if len(content) == _kernel.SLOT_SIZE else None


def change_slot(files, place, field, value):
    at = place * _kernel.SLOT_STRIDE
    content = bytearray(files.get(COMMIT, b""))
    slot = content[at : at + _kernel.SLOT_SIZE]
    if len(slot) == _kernel.SLOT_SIZE:
        slot[field : field + len(value)] = value
        slot[252:] = struct.pack("<I", _kernel.crc32c(bytes(slot[:252])))
        content[at : at + _kernel.SLOT_SIZE] = slot
        files[COMMIT] = bytes(content)


def damaged(choices):
    """A template that was damaged one to four times."""
    files = dict(choices.choose(templates()))
    for _ in range(1 + choices.below(4)):
        acts = [damage_bytes]
        if any(name.startswith("meta-") for name in files):
            acts = [damage_bytes, damage_bytes, damage_slots, damage_meta, damage_meta, damage_json]
        if files:
            choices.choose(acts)(files, choices)
    return files


# ---- reading


def read(dataset):
    """Read all samples in all ways, and all their properties."""
    count = len(dataset)
    repr(dataset), dataset.metadata, dataset.complete, dataset.path
    few = [place for place in (0, 1, count // 2, count - 1) if 0 <= place < count]
    acts = [
        lambda: [dataset[place] for place in few],
        lambda: dataset.take(few),
        lambda: dataset.select(few)[:],
        lambda: pickle.loads(pickle.dumps(dataset)),  # noqa: S301
    ]
    if count <= MOST_SAMPLES:
        acts += [
            lambda: list(dataset),
            lambda: dataset[:],
            lambda: dataset[::-2],
            lambda: dataset.take(range(count)),
            lambda: list(dataset.select(slice(1, None, 2))),
            lambda: dataset.index(object()),
            lambda: dataset.nbytes,
            lambda: dataset.prefetch(range(count)),
            dataset.to_arrow,
            lambda: pad(dataset),
        ]
        names = ("take_jagged", "byte_lengths", "lengths", "shapes", "starts", "shape", "garbage")
        acts += [functools.partial(read_by_name, dataset, name) for name in names]
    return acts


def pad(dataset):
    """Pad to a given size: an empty shape may have any extents, and padded batches need memory."""
    if isinstance(dataset, mmap_ninja.RaggedMmap) and len(dataset):
        dataset.take_padded(range(len(dataset)), value=1, length=[16] * max(dataset[0].ndim, 1))


def read_by_name(dataset, name):
    found = getattr(dataset, name, None)
    if callable(found):
        found(range(len(dataset)))
    elif found is not None:
        len(found) if hasattr(found, "__len__") else int(found)


def write(dataset):
    """Change a damaged dataset, unless that is refused."""
    return [
        lambda: dataset.append(dataset[0]),
        lambda: dataset.extend([dataset[-1]] * 2),
        lambda: dataset.__setitem__(0, dataset[-1]),
        lambda: dataset.__delitem__(0),
        dataset.flush,
        dataset.refresh,
        dataset.compact,
    ]


# Errors that an intact dataset may raise, too.
REFUSALS = (
    (AttributeError, "samples were deleted or replaced, so starts and ends"),
    (TypeError, "is a scalar, which has no length"),
    (TypeError, "has no Arrow type"),
    (ValueError, "call mmap_ninja.upgrade on it first"),
    (ValueError, "take_jagged: "),
    (ValueError, "take_padded: "),
    (TypeError, "take_padded: value: "),
    (ValueError, "is not among the samples"),
    (ValueError, "delete the sample and append"),
    (ImportError, "needs a package that is not installed"),
    (IndexError, "is out of range for 0 samples"),
    (ValueError, "of dtype"),
)


def fuzz_one(data):
    """Damage a dataset by these bytes, then open, read and write it.

    Raises:
        Exception: any other than the errors of this library and documented ones.
    """
    choices = Bytes(data)
    files = damaged(choices)
    folder = Path(tempfile.mkdtemp(dir=memory_folder()))
    path = folder / "ds"
    try:
        for name, content in files.items():
            target = path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        path.mkdir(exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with refused(path):
                for level in ("quick", "sums", "full"):
                    mmap_ninja.verify(path, level)
            with refused(path):
                recovered = mmap_ninja.recover(path, folder / "recovered").path
                report = mmap_ninja.verify(recovered, "full")
                if not report.ok:
                    raise AssertionError(f"recovered, but still damaged: {report}")
            with refused(path):
                dataset = mmap_ninja.open(path, read_mode=choices.choose(["mmap", "pread"]))
                acts = read(dataset)
                if choices.below(4) == 0 and len(dataset) <= MOST_SAMPLES:
                    acts += write(dataset)
                for act in acts:
                    with refused(path):
                        act()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def refused(path):
    try:
        yield
    except MmapNinjaError as error:
        if str(path) not in str(error):
            raise AssertionError(f"an error without the path: {error}") from error
    except Exception as error:
        if not any(type(error) is kind and text in str(error) for kind, text in REFUSALS):
            raise


@functools.cache
def memory_folder():
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - only for a folder in it


def replay(archive):
    """Fuzz with every saved input of a zip archive."""
    with zipfile.ZipFile(archive) as saved:
        for name in saved.namelist():
            try:
                fuzz_one(saved.read(name))
            except Exception as error:
                error.add_note(f"with the input {name}")
                raise
        return len(saved.namelist())


def fuzz_randomly(runs, seconds, seed):
    """Fuzz with random bytes, without atheris.

    Returns:
        The number of runs.
    """
    end = time.monotonic() + seconds
    source = random.Random(seed)
    for run in range(runs):
        if time.monotonic() > end:
            return run
        data = source.randbytes(source.randrange(1, 60))
        try:
            fuzz_one(data)
        except Exception as error:
            error.add_note(f"with the input {base64.b64encode(data).decode()}")
            raise
    return runs


def main(arguments):
    if atheris is not None:
        atheris.Setup(arguments, fuzz_one)
        atheris.Fuzz()
        return
    print("atheris is not installed: using random bytes, not guided by coverage")
    options = dict(argument[1:].split("=") for argument in arguments[1:] if argument.startswith("-"))
    replayed = sum(replay(folder) for folder in arguments[1:] if not folder.startswith("-"))
    runs = int(options.get("runs", 10**9))
    done = fuzz_randomly(runs, float(options.get("max_total_time", "inf")), int(options.get("seed", 0)))
    print(f"{replayed} saved inputs, {done} random ones")


if __name__ == "__main__":
    main(sys.argv)
