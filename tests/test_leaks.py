"""What a process holds on to, and what it leaves behind."""

import contextlib
import gc
import os
import pickle

import numpy as np
from faults import OLD, in_child

from mmap_ninja import BytesMmap, StringsMmap


def descriptors():
    """The number of open descriptors and maps of this process."""
    gc.collect()
    with open("/proc/self/maps") as maps:
        return len(os.listdir("/proc/self/fd")), sum("/ds/" in line for line in maps)


def test_operations_leak_no_descriptors_or_maps(path):
    def use():
        texts = StringsMmap(path)
        texts.append("a")
        view = texts.select([0])
        StringsMmap.from_strings(path, OLD)
        with contextlib.suppress(TypeError):
            BytesMmap(path)
        with contextlib.suppress(TypeError):
            texts.append(1)
        with contextlib.suppress(RuntimeError):
            StringsMmap.from_generator(path, iter_that_fails())
        texts.refresh()
        texts.append("b")
        pickle.loads(pickle.dumps(texts)).close()
        texts.starts
        texts.close()
        return view[0]

    def iter_that_fails():
        yield "a"
        raise RuntimeError

    use()
    before = descriptors()
    for _ in range(20):
        use()

    assert descriptors() == before


def resident_bytes():
    """Private memory of this process that is in RAM."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        fields = statm.read().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def test_operations_leak_no_memory(path):
    texts = StringsMmap(path)
    indices = np.array([2, 0, 1])

    # 100,000 operations and more; the samples that they append are no leak, and shared.
    def use(times):
        for _ in range(times):
            texts[1]
            texts[-1]
            texts.take(indices)
            texts.take_jagged(indices)
            iter(texts).__next__()
            texts.byte_lengths
            assert "zwölf" in texts
            texts.select(indices)[0]
            with contextlib.suppress(IndexError):
                texts[10**9]
            with contextlib.suppress(TypeError):
                texts._encode(texts._dataset.meta.columns, ["a", 1], "path", 0)
            texts._encode(texts._dataset.meta.columns, ["a", "日"], "path", 0)

    def grow(times):
        for _ in range(times):
            texts.append("a")

    def measured():
        use(500)
        grow(500)
        before = resident_bytes()
        use(10_000)
        grow(20_000)
        return resident_bytes() - before

    assert in_child(measured) < 3 << 20
