"""Thousands of flipped bits, and truncations to all lengths: refused, harmless, or found by `verify`.

`make sanitize` runs this file with a kernel under AddressSanitizer.
"""

import random
from collections import Counter

import pytest

import mmap_ninja
from mmap_ninja import DatasetTruncatedError, MmapNinjaError, StringsMmap, _kernel
from support.faults import flip_bit, opened, slot_places
from support.kinds import KINDS, Kind, plain

FLIPS = 300  # per kind
CASES = {**KINDS, "blocks": Kind(StringsMmap, lambda number: f"{number} " * 4000)}  # large enough for blocks with sums
SMALL = 4096


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """The path of an edited and closed dataset of each kind, and the list of its samples."""
    dataset, samples = CASES[request.param].edited(tmp_path / "ds")
    dataset.close()
    assert mmap_ninja.verify(tmp_path / "ds", "full").ok
    return tmp_path / "ds", samples


def read_in_all_ways(path):
    """The samples, on which all ways of reading must agree."""
    with opened(path) as dataset:
        samples = plain(list(dataset))
        count = len(dataset)
        assert plain([dataset[index] for index in range(count)]) == samples
        assert plain(list(dataset[::-1])) == samples[::-1]
        assert plain(list(dataset.select(range(1, count)))) == samples[1:]
        dataset.take(range(count))
        for name in ("take_jagged", "byte_lengths", "shapes", "prefetch"):
            found = getattr(dataset, name, None)
            if callable(found) and dataset.__class__.__name__ != "RaggedMmap":  # whose ranks may differ
                found(range(count))
        return samples


def form(samples):
    """The types of samples, and the dtypes of arrays."""
    return {sample[0] if isinstance(sample, tuple) else type(sample) for sample in samples}


def committed_bytes(path):
    """The bytes of each file that belong to the newest commit, which are all covered by checksums."""
    dataset = opened(path)._state.dataset
    names = [file.name for file in dataset.seen.meta.files]
    return dict(zip(names, dataset.seen.extents, strict=True))


def test_flipped_bits_are_refused_or_harmless_or_found(case):
    path, expected = case
    expected = plain(expected)
    files = {file: file.read_bytes() for file in sorted(path.iterdir()) if file.stat().st_size}
    extents = committed_bytes(path)
    source = random.Random(7)
    seen = Counter()

    for _ in range(FLIPS):
        file = source.choice(sorted(files))
        # Most of a commit file is never read.
        places = range(len(files[file])) if file.name != "COMMIT" else [
            at + place for at in slot_places() for place in range(_kernel.SLOT_SIZE)
        ]  # fmt: skip
        place, bit = source.choice(places), source.randrange(8)
        flip_bit(file, place, bit)
        try:
            found = read_in_all_ways(path)
        except MmapNinjaError as error:
            assert str(path) in str(error)
            seen["refused"] += 1
        else:
            seen["harmless" if found == expected else "other samples"] += 1
            assert form(found) <= form(expected)
            assert found == expected or place < extents[file.name]
        report = mmap_ninja.verify(path, "sums")
        if place < extents.get(file.name, 0):
            # If a checksum and its block differ, either may be wrong.
            named = [problem.file for problem in report.problems]
            assert named if file.name.startswith("sums") else any(file.name in files_ for files_ in named)
        elif file.name == "COMMIT":
            assert report.ok
        file.write_bytes(files[file])

    print(dict(seen))
    assert seen["refused"] > 20
    assert seen["harmless"] > 20
    assert seen["other samples"] > 3
    assert read_in_all_ways(path) == expected


def test_small_files_truncated_to_many_lengths_are_refused(case):
    path, expected = case
    names = {name for name, size in committed_bytes(path).items() if size} | {
        file.name for file in path.glob("meta-*.json")
    }
    cut = 0

    for file in sorted(path.iterdir()):
        content = file.read_bytes()
        if file.name not in names or len(content) > SMALL:
            continue
        for length in range(0, len(content), 1 + len(content) // 500):
            file.write_bytes(content[:length])
            with pytest.raises(MmapNinjaError) as refused:
                opened(path)
            assert str(path) in str(refused.value)
            assert file.name.startswith("meta-") or isinstance(refused.value, DatasetTruncatedError)
        file.write_bytes(content)
        cut += 1

    assert cut >= 2
    assert read_in_all_ways(path) == plain(expected)


def test_commit_file_truncated_to_any_length_is_refused_or_harmless(tmp_path, monkeypatch):
    dataset, expected = KINDS["strings"].edited(tmp_path / "ds")
    dataset.close()
    file = tmp_path / "ds" / "COMMIT"
    content = file.read_bytes()
    lengths = [at + length for at in slot_places() for length in (*range(_kernel.SLOT_SIZE + 2), 1000)]
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # readers look again, since a torn slot may be temporary
    seen = Counter()

    for length in lengths:
        file.write_bytes(content[:length])
        try:
            found = plain(list(opened(tmp_path / "ds")))
        except MmapNinjaError as error:
            assert str(tmp_path / "ds") in str(error)
            seen["refused"] += 1
        else:
            seen["harmless"] += 1
            assert found == plain(expected)

    assert seen["refused"] >= _kernel.SLOT_SIZE
    assert seen["harmless"] >= 2 * _kernel.SLOT_SIZE
