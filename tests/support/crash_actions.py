"""All actions that change a dataset, with the states they go through: targets for injected faults."""

import contextlib
import os
import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import mmap_ninja
from mmap_ninja import ArrayMmap, RaggedMmap, RecordsMmap, StringsMmap
from mmap_ninja.engine import upgrade_marks
from mmap_ninja.format.names import generation_of
from support import reference_reader
from support.faults import OLD, change_slots, opened, unsynced, watched
from support.golden import F_ORDER, GOLDEN, MIXED, STRINGS, expected_samples

BLOCKS = [f"{number:05d}" * 400 for number in range(150)]  # 300 kB: several blocks of payload, and their sums
NEW = [f"new {number}" * (number + 1) for number in range(7)]
ROWS = [[1.0, 2.0], [3.0]]
BATCHES = [NEW[:3], NEW[:6], NEW]  # stored after each batch of 3


def listed(samples):
    """All samples as builtin values."""
    return [listed_sample(sample) for sample in samples]


def listed_sample(sample):
    if isinstance(sample, dict):
        return {key: listed_sample(value) for key, value in sample.items()}
    return sample.tolist() if hasattr(sample, "tolist") else sample


def append_first(path, done):
    texts = StringsMmap(path)
    texts.append("first")
    done(["first"])


def append_twice(path, done):
    texts = StringsMmap(path)
    for added in (["a"], ["a", "b"]):
        texts.append(added[-1])
        done(OLD + added)


def extend_blocks(path, done):
    texts = StringsMmap(path)
    texts.append("a")
    done([*OLD, "a"])
    texts.extend(BLOCKS)
    done([*OLD, "a", *BLOCKS])
    texts.append("b")
    done([*OLD, "a", *BLOCKS, "b"])


def append_durably(path, done):
    texts = StringsMmap(path, durability="machine")
    for added in (["a"], ["a", "b"], ["a", "b", "c"]):
        texts.append(added[-1])
        done(OLD + added, durable=True)


def append_and_flush(path, done):
    texts = StringsMmap(path)
    texts.append("a")
    done([*OLD, "a"])
    texts.flush()
    done([*OLD, "a"], durable=True)
    texts.append("b")
    done([*OLD, "a", "b"])
    texts.close()
    done([*OLD, "a", "b"], durable=True)


def grow_partial_block(path, done):
    """Growth without a sync of a block that is partly durable: within it, up to its end, and past it."""
    texts = StringsMmap(path)
    for count in range(1, len(PARTS)):
        texts.append(PARTS[count])
        done(PARTS[: count + 1])
    texts.flush()
    done(PARTS, durable=True)
    texts.append("end")
    done([*PARTS, "end"])


PARTS = ["a" * 40_000, "b" * 20_000, "c" * (65_536 - 60_000), "d" * 100, "e" * 70_000]


def delete(path, done):
    texts = StringsMmap(path)
    del texts[1]
    done([OLD[0], OLD[2]])
    del texts[0]
    done([OLD[2]])
    texts.flush()
    done([OLD[2]], durable=True)
    texts.clear()
    done([], durable=True)


def exchange(path, done):
    texts = StringsMmap(path)
    texts[0] = "a" * 5000
    done(["a" * 5000, *OLD[1:]])
    texts[0] = "b"
    done(["b", *OLD[1:]])
    texts[1:3] = ["c", "d"]
    done(["b", "c", "d"])
    texts.flush()
    done(["b", "c", "d"], durable=True)
    texts[2] = "e"
    done(["b", "c", "e"])


def build_first(path, done):
    StringsMmap.from_generator(path, iter(NEW), batch_size=3)
    done(NEW, durable=True)


def build_again(path, done):
    StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="replace")
    done(NEW, durable=True)


def build_more(path, done):
    StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="append")
    done(OLD + NEW, durable=True)


def resume_first(path, done):
    StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="resume")
    done(NEW, durable=True)


def append_ranks(path, done):
    rows = RaggedMmap(path)
    rows.append(np.float64(5))
    done([*ROWS, 5.0])
    rows.append(np.zeros((1, 1, 2)))
    done([*ROWS, 5.0, [[[0.0, 0.0]]]])


def append_first_array(path, done):
    arrays = ArrayMmap(path)
    arrays.append(np.arange(2.0))
    done([[0.0, 1.0]])


def build_ranks(path, done):
    RaggedMmap.from_generator(path, [*map(np.array, ROWS), np.float64(5), np.ones((1, 1))], batch_size=1)
    done([*ROWS, 5.0, [[1.0]]], durable=True)


def unseal(path, done):
    mmap_ninja.np_open_existing(path, "r+")
    done([[1.0, 2.0]])


def edit(path, done):
    texts = StringsMmap(path)
    expected = list(OLD)
    texts[0] = expected[0] = "longer than before"
    done(list(expected))
    del texts[1], expected[1]
    done(list(expected))
    texts[0:2] = expected[0:2] = ["x" * 70_000, "y"]
    done(list(expected))
    texts.append("z")
    done([*expected, "z"])
    del texts[:2]
    texts.close()
    done(["z"], durable=True)


EDITED = [
    OLD,
    ["longer than before", *OLD[1:]],
    ["longer than before", ""],
    ["x" * 70_000, "y"],
    ["x" * 70_000, "y", "z"],
    ["z"],
]


def edited(path):
    texts = StringsMmap.from_strings(path, BLOCKS[:40] + OLD)
    del texts[:40]
    texts[0] = "other"


def compact(path, done):
    texts = StringsMmap(path)
    texts.compact()
    done(["other", *OLD[1:]], durable=True)
    texts.compact(order=[2, 0, 1])
    done(["", "other", OLD[1]], durable=True)


def clear(path, done):
    texts = StringsMmap(path)
    texts.clear()
    done([], durable=True)


def records(count):
    return [{"n": number, "t": "t" * number, "r": [number] * (number + 1)} for number in range(count)]


def two_records(path):
    RecordsMmap.from_generator(path, records(2)).close()


def append_first_record(path, done):
    dataset = RecordsMmap(path)
    dataset.append(records(1)[0])
    done(records(1))


def change_records(path, done):
    dataset = RecordsMmap(path)
    dataset.extend(records(4)[2:])
    done(records(4))
    del dataset[0]
    done(records(4)[1:])
    dataset.add_column("c", [7, 8, 9])
    done(ADDED, durable=True)
    dataset.rename_column("c", "d")
    done(RENAMED, durable=True)
    dataset.drop_column("r")
    done(DROPPED, durable=True)


def two_records_without_nulls(path):
    RecordsMmap.from_generator(path, records(2), columns={"r": mmap_ninja.Ragged("int64")}).close()


def allow_nulls(path, done):
    dataset = RecordsMmap(path)
    for count, name in enumerate("tnr", 1):
        dataset.set_nullable(name)
        done(with_nulls(count - 1), durable=True)
        dataset.append({key: value for key, value in records(3)[2].items() if key != name})
        done(with_nulls(count))
    del dataset[0]
    done(with_nulls(3)[1:])


def with_nulls(count):
    """Two records, then some of which each lacks one column."""
    return records(2) + [records(3)[2] | {name: None} for name in "tnr"[:count]]


def change_metadata(path, done):
    texts = StringsMmap(path)
    texts.append("a")
    done([*OLD, "a"])
    for number in range(2):
        texts.metadata = {"number": number}
        done([*OLD, "a"], durable=True)
        assert texts.metadata == opened(path).metadata == {"number": number}


ADDED = [sample | {"c": 7 + place} for place, sample in enumerate(records(4)[1:])]
RENAMED = [sample | {"d": 7 + place} for place, sample in enumerate(records(4)[1:])]
DROPPED = [{key: value for key, value in sample.items() if key != "r"} for sample in RENAMED]


def merge(path, done):
    mmap_ninja.merge([path.parent / "a", path.parent / "b"], path, if_exists="replace")
    done(MERGED, durable=True)


MERGED = ["a" * 100_000, "c", "d"]


def upgrade(path, done):
    mmap_ninja.upgrade(path)
    done(listed(mmap_ninja.open(path)), durable=True)


def change_first(path, done):
    StringsMmap(path).append("x")
    done([*GOLDEN_TEXTS, "x"])


GOLDEN_TEXTS = expected_samples(STRINGS)


def nothing(path):
    pass


def sources(path):
    """Two datasets to merge, beside the path, one of them edited."""
    if not (path.parent / "b").exists():
        texts = StringsMmap.from_strings(path.parent / "a", ["a" * 100_000, "gone", "c"])
        del texts[1]
        texts.close()
        StringsMmap.from_strings(path.parent / "b", ["d"]).close()


def sources_and_three_samples(path):
    sources(path)
    three_samples(path)


def first_part(path):
    StringsMmap.from_strings(path, PARTS[:1]).close()


def golden(name):
    """A function that makes a copy of a directory of 0.x."""
    return lambda path: shutil.copytree(GOLDEN / name, path)


def two_rows(path):
    RaggedMmap.from_lists(path, ROWS).close()


def one_array(path):
    ArrayMmap.from_ndarray(path, [[1.0, 2.0]]).close()


def three_samples(path):
    StringsMmap.from_strings(path, OLD).close()


def interrupted_build(path):
    with contextlib.suppress(RuntimeError):
        StringsMmap.from_generator(path, interrupted(), batch_size=3)
    if not (path / "BUILD").exists():
        opened(path).flush()


def interrupted_replacement(path):
    three_samples(path)
    interrupted_build(path)


def interrupted():
    yield from NEW[:4]
    raise RuntimeError("source")


class Action(NamedTuple):
    """A way to change a dataset.

    Args:
        prepare: Makes the state before, at a path.
        act: Changes it; calls `done(state)` when a state must survive a kill, with `durable=True` also a power loss.
        states: The samples that may be seen afterwards, in the order in which they are stored; None: no dataset.
        least_calls: The minimum number of calls that it makes.
    """

    prepare: Callable
    act: Callable
    states: list
    least_calls: int


ACTIONS = {
    "first append": Action(nothing, append_first, [None, [], ["first"]], 20),
    "append": Action(three_samples, append_twice, [OLD, [*OLD, "a"], [*OLD, "a", "b"]], 10),
    "extend": Action(
        three_samples, extend_blocks, [OLD, [*OLD, "a"], [*OLD, "a", *BLOCKS], [*OLD, "a", *BLOCKS, "b"]], 15
    ),
    "partial block": Action(
        first_part, grow_partial_block, [*(PARTS[: count + 1] for count in range(len(PARTS))), [*PARTS, "end"]], 25
    ),
    "durable append": Action(three_samples, append_durably, [OLD + list("abc")[:k] for k in range(4)], 30),
    "flush and close": Action(three_samples, append_and_flush, [OLD, [*OLD, "a"], [*OLD, "a", "b"]], 20),
    "first build": Action(nothing, build_first, [None, [], *BATCHES], 35),
    "replacement": Action(three_samples, build_again, [OLD, NEW], 50),
    "append build": Action(three_samples, build_more, [OLD + batch for batch in [[], *BATCHES]], 20),
    "resume": Action(interrupted_build, resume_first, BATCHES, 10),
    "resumed replacement": Action(interrupted_replacement, resume_first, [OLD, NEW], 20),
    "first array": Action(nothing, append_first_array, [None, [], [[0.0, 1.0]]], 30),
    "other ranks": Action(two_rows, append_ranks, [ROWS, [*ROWS, 5.0], [*ROWS, 5.0, [[[0.0, 0.0]]]]], 40),
    "rebuilt ranks": Action(two_rows, build_ranks, [ROWS, [*ROWS, 5.0, [[1.0]]]], 60),
    "deletes": Action(three_samples, delete, [OLD, [OLD[0], OLD[2]], [OLD[2]], []], 40),
    "replacements": Action(
        three_samples, exchange, [OLD, ["a" * 5000, *OLD[1:]], ["b", *OLD[1:]], ["b", "c", "d"], ["b", "c", "e"]], 25
    ),
    "edits": Action(three_samples, edit, EDITED, 15),
    "compaction": Action(edited, compact, [["other", *OLD[1:]], ["", "other", OLD[1]]], 40),
    "clear": Action(edited, clear, [["other", *OLD[1:]], []], 20),
    "first record": Action(nothing, append_first_record, [None, [], records(1)], 30),
    "records and columns": Action(
        two_records, change_records, [records(2), records(4), records(4)[1:], ADDED, RENAMED, DROPPED], 60
    ),
    "nulls": Action(
        two_records_without_nulls, allow_nulls, [*(with_nulls(count) for count in range(4)), with_nulls(3)[1:]], 60
    ),
    "metadata": Action(three_samples, change_metadata, [OLD, [*OLD, "a"]], 40),
    "merge": Action(sources, merge, [None, MERGED], 25),
    "merge over": Action(sources_and_three_samples, merge, [OLD, MERGED], 25),
    "upgrade": Action(golden(STRINGS), upgrade, [GOLDEN_TEXTS], 40),
    "upgrade with a copy": Action(golden(F_ORDER), upgrade, [listed(expected_samples(F_ORDER))], 40),
    "upgrade with shapes": Action(golden(MIXED), upgrade, [listed(expected_samples(MIXED))], 40),
    "first change of 0.x": Action(golden(STRINGS), change_first, [GOLDEN_TEXTS, [*GOLDEN_TEXTS, "x"]], 40),
    "replacement of 0.x": Action(golden(STRINGS), build_again, [GOLDEN_TEXTS, NEW], 40),
    "unsealed": Action(one_array, unseal, [[[1.0, 2.0]]], 10),
}
MARKS = ["data.ninja", "dtype.ninja", "order.ninja", "shape.ninja", "shapes_are_flat.ninja", "starts", "type.ninja"]


BUILDS = ["first build", "replacement", "resume", "resumed replacement", "replacement of 0.x"]


def copy_of(template, path):
    """A copy of a dataset, if there is one, that looks like the original."""
    if template.exists():
        shutil.copytree(template, path)
        adopt_copy(path)
    return path


def adopt_copy(path):
    """Make the commits of a copied directory look as if they were made there, in this boot."""
    for name in ("COMMIT", "BUILD"):
        if (path / name).exists():
            info = (path / name).stat()

            def relocate(slot, info=info):
                slot.device, slot.inode = info.st_dev, info.st_ino

            change_slots(path, relocate, name)


def reader_of(path):
    """A handle opened before the kill, if there is a dataset."""
    return opened(path) if (path / "COMMIT").exists() or upgrade_marks.detect(path) else None


def one_more(samples):
    """A further sample that fits the dataset."""
    if isinstance(samples, StringsMmap):
        return "another"
    if isinstance(samples, RecordsMmap):
        return samples[-1] if len(samples) else records(3)[2]
    return samples[0] if len(samples) else np.array([5.0, 6.0])


def prepared(tmp_path, action, name="ds"):
    """The path of a directory in the state before the action."""
    path = tmp_path / name
    with watched(unsynced()):
        action.prepare(path)
    return path


def seen(path):
    """The samples of a dataset; None if there is no dataset."""
    return listed(opened(path)) if (path / "COMMIT").exists() or upgrade_marks.detect(path) else None


def is_clean(path):
    """Whether every byte of a dataset matches its commit; also if there is no dataset, or only a known failed sync."""
    if not (path / "COMMIT").exists():
        return True
    problems = mmap_ninja.verify(path, level="full").problems
    return all(problem.message.startswith("a sync failed") for problem in problems)


def takes_appends(path):
    """Whether the next writer continues where the last one stopped."""
    before = seen(path) or []
    samples = opened(path)
    added = ["next", "and", "more" * 20_000]
    if isinstance(samples, RecordsMmap):
        added = [before[0] if before else records(3)[2]] * 3
    elif not isinstance(samples, StringsMmap):
        added = [[0.0, 1.0]] * 3 if not before else [before[0]] * 2 + [before[-1]]
    with watched(unsynced()):
        samples.append(added[0])
        samples.extend(added[1:])
    count = len(reference_reader.read(path))  # which also checks everything that can be checked
    return listed(samples) == listed(opened(path)) == [*before, *added] and count == len(samples) and is_clean(path)


def is_replaced_without_leftovers(path):
    """Whether a build replaces the dataset, and leaves no files of it or of what was interrupted."""
    was_of_0x = upgrade_marks.detect(path) or (path / "type.ninja").exists()
    with watched(unsynced()):
        StringsMmap.from_strings(path, ["end"]).close()
    names = set(os.listdir(path)) - set(MARKS if was_of_0x else ())
    own = {name for name in names if generation_of(name) is not None}
    return (
        names - own == {"COMMIT", "LOCK"}
        and len(own) == 5
        and len({generation_of(name) for name in own}) == 1
        and reference_reader.read(path) == listed(mmap_ninja.open(path)) == ["end"]
    )
