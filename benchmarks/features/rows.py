"""The rows of the feature table: what each asks, and the probe that finds the answer."""

import io
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.children import Child, Ended, in_child, killed

COUNT = 200
SHUFFLED, SHARD = 10_000, 500
FLIPS = 20
ACKNOWLEDGED = 65  # in the middle of a file of 10, where there are such
WRITERS, APPENDS = 2, 20


class Found(NamedTuple):
    answer: str  # yes, partly or no
    facts: str


class Row(NamedTuple):
    title: str
    asked: str  # what "yes" means, and what the probe does
    probe: Callable[[type, Path], Found] | None = None  # none: by documentation only


def sample(number: int, size: int = 256) -> bytes:
    return number.to_bytes(8, "little") + random.Random(number).randbytes(size - 8)


def number_of(stored: bytes) -> int:
    return int.from_bytes(bytes(stored[:8]), "little")


def samples(count: int = COUNT) -> list[bytes]:
    return list(map(sample, range(count)))


def either(right: bool, facts: str) -> Found:
    return Found("yes" if right else "no", facts)


def index(system, path) -> Found:
    in_child(system.write, path, samples()).result()
    positions = (137, 3, 199, 0)
    got = [in_child(system.at, path, position).result() for position in positions]
    return either(got == [sample(position) for position in positions], "4 of 200 samples were right")


def shuffle(system, path) -> Found:
    in_child(system.write_shards, path, samples(SHUFFLED), SHARD).result()
    first, second = ([number_of(x) for x in in_child(system.epoch, path, seed).result()] for seed in (0, 1))
    if sorted(first) != list(range(SHUFFLED)) or first == second:
        return Found("no", "an epoch did not have every sample once, or was like the other")
    tenth = SHUFFLED // 10
    shares = Counter(number // tenth for number in first[:tenth])
    least, most = min(shares.get(part, 0) for part in range(10)), max(shares.values())
    facts = f"the first 1,000 of 10,000 had {least} to {most} samples of each tenth of the dataset"
    return either(least > 50 and most < 150, facts)  # of a true shuffle: 100, give or take 9


def resume(system, path) -> Found:
    in_child(system.write, path, samples()).result()
    state, rest = in_child(system.stopped, path, 70).result()
    rest = list(map(number_of, rest))
    got = list(map(number_of, in_child(system.resumed, path, state).result()))
    if got == rest:
        return either(rest != sorted(rest), f"{len(rest)} samples that were left came in the same order")
    missing, more = len(set(rest) - set(got)), len(got) - len(set(got) & set(rest))
    return Found("no", f"of {len(rest)} samples that were left, {missing} did not come, and {more} others did")


def append(system, path) -> Found:
    in_child(system.write, path, samples()[:150]).result()
    in_child(getattr(system, "append", None) or system.add_part, path, samples()[150:]).result()
    return either(in_child(system.read, path).result() == samples(), "150 samples and 50 more were read")


def edit(system, path) -> Found:
    in_child(getattr(system, "write_editable", system.write), path, samples()).result()
    expected = samples()
    expected[5] = sample(5, 300)
    in_child(system.replace, path, 5, expected[5]).result()
    facts = "a longer sample took the place of one of 200"
    if hasattr(system, "delete"):
        in_child(system.delete, path, 7).result()
        del expected[7]
        facts += ", and another was deleted"
    read = in_child(system.read, path).result()
    if read != expected and sorted(read) == sorted(expected):
        facts += "; the order has changed"
    return either(sorted(read) == sorted(expected), facts)


def kill(system, path) -> Found:
    def stored(acknowledge) -> None:
        system.store(path, throttled(), acknowledge)

    count = killed(stored, acknowledged=ACKNOWLEDGED)
    value, error = in_child(getattr(system, "read_leftover", system.read), path)
    prefix = 0
    while prefix < len(value or ()) and value[prefix] == sample(prefix):
        prefix += 1
    facts = f"of {count} stored samples, {min(prefix, count)} were readable"
    if prefix >= count and len(value) == prefix:
        return Found("yes", facts)
    return Found("partly" if prefix else "no", facts + (f": {error.replace(str(path), path.name)}" if error else ""))


def throttled():
    for number in range(100_000):
        time.sleep(0.0005)
        yield sample(number)


def processes(system, path) -> Found:
    in_child(system.write, path, samples()[:20]).result()
    parts = [samples()[20 + APPENDS * k : 20 + APPENDS * (k + 1)] for k in range(WRITERS)]
    if not hasattr(system, "append"):
        children = [Child(system.add_part, path, part, str(k)) for k, part in enumerate(parts)]
        for child in children:
            child.ended().result()
        read = sorted(in_child(system.read, path).result())
        return either(read == sorted(samples()[:60]), f"{WRITERS} processes wrote a part each, read as one afterwards")
    children = [Child(one_by_one, system, path, part) for part in parts]
    problems, seen = [], 0
    while any(child.process.is_alive() and not child.receiving.poll() for child in children):
        read, error = in_child(system.read, path)
        if error or not set(read) < set(samples()) or len(set(read)) < seen:
            problems.append("a reader beside them " + (f"failed: {error}" if error else "lost samples"))
            break
        seen = len(set(read))
    problems += [f"one failed: {child.error}" for child in [child.ended() for child in children] if child.error]
    read = in_child(system.read, path).result()
    kept = len(set(read)) - 20
    facts = f"of {WRITERS * APPENDS} samples that {WRITERS} processes appended, {kept} were there"
    right = not problems and sorted(read) == sorted(samples()[:60])
    return either(right, "; ".join([facts, *problems] if problems else [facts, "readers beside them saw no other"]))


def one_by_one(system, path, part) -> None:
    for stored in part:
        system.append(path, [stored])


def flip(system, path) -> Found:
    in_child(system.write, path, samples()).result()
    outcomes = Counter()
    for file, place in places(path):
        flipped(file, place)
        outcomes[outcome(system, path)] += 1
        flipped(file, place)  # back
    facts = f"{FLIPS} flips: " + ", ".join(f"{outcomes[what]} {what}" for what in OUTCOMES if outcomes[what])
    if in_child(system.read, path).result() != samples():
        raise RuntimeError("the flips were not taken back")
    return either(not outcomes[SILENT], facts)


RAISED, VERIFIED, SILENT, HARMLESS = (
    "made reading raise", "were found by checking", "gave wrong samples silently", "changed no sample"
)  # fmt: skip
OUTCOMES = (RAISED, VERIFIED, SILENT, HARMLESS)


def outcome(system, path) -> str:
    read = in_child(system.read, path)
    if read.error:
        return RAISED
    if hasattr(system, "verify") and in_child(system.verify, path) != Ended(value=True):
        return VERIFIED
    return HARMLESS if read.value == samples() else SILENT


def places(path: Path) -> list[tuple[Path, int]]:
    """Return places in 20 samples, as they lie in the files, or evenly over all files where they do not."""
    files = sorted(file for file in path.parent.rglob("*") if file.is_file())
    stored = [(file, file.read_bytes()) for file in files]
    wanted = [sample(number)[100:150] for number in range(3, COUNT, COUNT // FLIPS)]
    found = [(file, content.find(part)) for part in wanted for file, content in stored if part in content]
    if len(found) == FLIPS:
        return found
    sizes = np.cumsum([0] + [file.stat().st_size for file in files])
    chosen = [int(sizes[-1]) * (2 * k + 1) // (2 * FLIPS) for k in range(FLIPS)]
    which = np.searchsorted(sizes, chosen, side="right") - 1
    return [(files[k], place - int(sizes[k])) for k, place in zip(which, chosen, strict=True)]


def flipped(file: Path, place: int) -> None:
    with file.open("r+b") as stored:
        stored.seek(place)
        byte = stored.read(1)[0]
        stored.seek(place)
        stored.write(bytes([byte ^ 0xFF]))


def ragged(system, path) -> Found:
    arrays = [np.arange(3 * k, dtype=np.float32).reshape(k, 3) + k for k in (2, 7, 1, 5) * 10]
    in_child(system.write_arrays, path, arrays).result()
    got = in_child(system.read_arrays, path).result()
    pairs = list(zip(got, arrays, strict=True))
    if all(isinstance(a, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs):
        return Found("yes", "40 arrays of shape [n, 3] came back with their dtype and shape")
    if all(np.array_equal(np.asarray(a, np.float32), b) for a, b in pairs):
        return Found("partly", f"40 arrays of shape [n, 3] came back as {type(got[0]).__name__}s")
    return Found("no", "the arrays did not come back")


def compression(system, path) -> Found:
    texts = [f"line {k}: ".encode() + b"all work and no play " * 100 for k in range(COUNT)]
    in_child(system.write_compressed, path, texts).result()
    size = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
    if in_child(system.read_compressed, path).result() != texts:
        return Found("no", "the texts did not come back")
    share = size / sum(map(len, texts))
    return either(share < 0.5, f"repeating texts took {share:.0%} of their size")


def pictures(system, path) -> Found:
    from PIL import Image  # noqa: PLC0415 - only this probe needs it

    rows, columns = np.mgrid[:48, :64]
    images, files = [], []
    for k in range(8):
        images.append(np.stack([rows * 5, columns * 3, rows + columns + k], axis=-1).astype(np.uint8))
        stream = io.BytesIO()
        Image.fromarray(images[-1]).save(stream, "JPEG", quality=95)
        files.append(stream.getvalue())
    in_child(system.write_pictures, path, files).result()
    got = [np.asarray(picture) for picture in in_child(system.read_pictures, path).result()]
    close = [a.shape == b.shape and np.abs(a.astype(int) - b).mean() < 4 for a, b in zip(got, images, strict=True)]
    return either(all(close), "8 JPEG files were read as pixels")


def keys(system, path) -> Found:
    named = {f"name-{k * 7919 % COUNT}": sample(k) for k in range(COUNT)}
    in_child(system.write_keyed, path, named).result()
    wanted = ["name-3", "name-199", "name-42"]
    got = [in_child(system.by_key, path, key).result() for key in wanted]
    return either(got == [named[key] for key in wanted], "3 of 200 samples were found by a string")


ROWS = {
    "index": Row(
        "Any sample by its position",
        "One call gives one sample, wherever it lies. 200 samples of 256 bytes are stored, and 4 of them read, each "
        "in a new process.",
        index,
    ),
    "shuffle": Row(
        "A shuffle of all samples",
        "The dataset has 10,000 samples, in 20 files or chunks if the system has such. An epoch must have every "
        "sample once, and another seed another order. The first tenth of the epoch must have about as many samples of "
        "each tenth of the dataset.",
        shuffle,
    ),
    "resume": Row(
        "Exact resume in a shuffled epoch",
        "The system's own loader stops after 70 of 200 shuffled samples, and gives a state. A new process loads it, "
        "and must get exactly the samples that the first one would have got.",
        resume,
    ),
    "append": Row(
        "Append to a stored dataset",
        "150 samples are stored. Another process opens what is there and adds 50. A third one opens the dataset and "
        "reads 200.",
        append,
    ),
    "edit": Row(
        "Replace and delete single samples",
        "Of 200 samples, a longer one takes the place of one, and another is deleted, without writing a new dataset.",
        edit,
    ),
    "kill": Row(
        "A killed writer loses nothing",
        "A process stores samples one by one, and gets SIGKILL after 60 or more. Every sample that had been stored "
        "must be readable. A sample counts as stored when the call that the table names has returned.",
        kill,
    ),
    "processes": Row(
        "Several processes append, others read",
        "Two processes append 20 samples each, one by one, at the same time, while others open the dataset and read "
        "it. No sample may be missing at the end, and readers may see only what was stored.",
        processes,
    ),
    "flip": Row(
        "A damaged byte is found",
        "Of 200 stored samples, 20 are damaged, one after the other: a byte in the middle is flipped in the file. If "
        "the files do not hold samples as they are, 20 bytes are flipped, evenly over all files. Each time, reading "
        "all samples must raise, or the system's own check must find it.",
        flip,
    ),
    "ragged": Row(
        "Arrays of differing shapes",
        "Arrays of float32 of shape [n, 3] are stored as NumPy arrays, and must come back as such, unpadded, with "
        "dtype and shape, without code of the user's that encodes them.",
        ragged,
    ),
    "compression": Row(
        "Compression",
        "200 repeating texts are stored, must take less than half of their size, and come back.",
        compression,
    ),
    "pictures": Row(
        "Decodes JPEG while it reads",
        "8 JPEG files are stored as files, and must come back as pixels without a decoder in the user's code.",
        pictures,
    ),
    "keys": Row(
        "Lookup by key",
        "200 samples are stored under strings, and 3 of them found by theirs, without a scan.",
        keys,
    ),
    "remote": Row(
        "Reads from object stores", "Datasets in S3, Google Cloud Storage and their like can be read in place."
    ),
    "windows": Row(
        "Installs on Windows",
        "The package index has a wheel for Windows, or one without compiled code, of the version that was probed.",
    ),
}


def answered(system: type, row: str, folder: Path) -> Found:
    path = folder / row / "dataset"
    path.parent.mkdir(parents=True)
    return ROWS[row].probe(system, path)
