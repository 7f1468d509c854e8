"""Leaks: descriptors, memory and objects in a process, and files that it leaves behind."""

import contextlib
import gc
import os
import pickle
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import BytesMmap, RaggedMmap, StringsMmap
from support.faults import OLD, in_child


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
    """Private memory of this process in RAM."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        fields = statm.read().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def test_operations_leak_no_memory(path):
    texts = StringsMmap(path)
    indices = np.array([2, 0, 1])

    # At least 100,000 operations; appended samples are not a leak, since they are shared memory.
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
                texts._encode(["a", 1], "path", 0, texts._state.columns)
            texts._encode(["a", "日"], "path", 0, texts._state.columns)

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


def test_operations_that_open_files_leak_no_objects(path):
    """A bug once: each opened file leaked its path, one for every refresh."""
    texts = StringsMmap(path)

    def use(times):
        for _ in range(times):
            texts.refresh()
            StringsMmap(path)
        gc.collect()
        return sys.getallocatedblocks()

    use(100)

    assert use(500) - use(500) > -250


# ---- exit of the interpreter

ENDS = {
    "open handles": "texts.append('last')",
    "os._exit": "texts.append('last'); import os; os._exit(0)",
    "sys.exit": "texts.append('last'); import sys; sys.exit()",
    "atexit": "import atexit; atexit.register(lambda: (texts.append('last'), texts.close()))",
    "a destructor": """
        class Late:
            def __del__(self, texts=texts):
                texts.append("last")
        sys.modules["builtins"].kept = Late()
        """,
    "a cycle with a view": """
        texts.append("last")
        class Holder:
            pass
        holder = Holder()
        holder.own, holder.view, holder.iterator = holder, texts.select([0]), iter(texts)
        texts.close()
        del texts
        assert list(holder.view) == ["one"] == [next(holder.iterator)]
        """,
}


def ended_with(path, code, *, preamble="texts = mmap_ninja.StringsMmap(sys.argv[1])"):
    """Run code in a new interpreter, to its exit; returns the status, which shows crashes, and the output."""
    code = f"import sys, mmap_ninja\n{preamble}\n{textwrap.dedent(code)}"
    command = [sys.executable, "-X", "faulthandler", "-W", "error", "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("end", ENDS)
def test_interpreter_that_ends_without_close_loses_nothing(path, end):
    assert ended_with(path, ENDS[end]) == (0, "")

    assert list(StringsMmap(path)) == [*OLD, "last"]
    assert mmap_ninja.verify(path, level="full").ok
    with StringsMmap(path, lock_timeout=0.1) as texts:
        texts.append("next")


@pytest.mark.parametrize(
    "act",
    [
        "texts.append('more')",
        "texts[:]; texts.take([1, 0]); list(texts)",
        "records[1]; records[0:2]; records['json'][1]; records.take([1])",
    ],
)
def test_interpreter_that_ends_beside_a_daemon_thread_does_not_crash(path, act):
    """A bug once: Python before 3.14 ends such a thread by unwinding its stack, and C++ called abort."""
    code = f"""
        import threading, time
        records = mmap_ninja.RecordsMmap(sys.argv[1] + " of records")
        records.extend([{{"json": [1, "a"], "number": 1}}] * 3)
        started = threading.Event()
        def work():
            while True:
                {act}
                started.set()
        threading.Thread(target=work, daemon=True).start()
        started.wait()
        time.sleep(0.02)
        """

    assert ended_with(path, code) == (0, "")

    assert mmap_ninja.verify(path, level="full").ok
    texts = list(StringsMmap(path))
    assert texts == [*OLD, *["more"] * (len(texts) - len(OLD))]


# ---- views that outlive their handle


@pytest.mark.parametrize(
    "act",
    [
        lambda rows: (rows.append(np.arange(3)), rows.refresh()),
        lambda rows: (rows.__setitem__(0, np.zeros(2)), rows.compact()),
        lambda rows: rows.clear(),
        lambda rows: RaggedMmap.from_generator(rows.path, [np.ones(3)]),
        lambda rows: rows.close(),
        lambda rows: shutil.rmtree(rows.path),
    ],
    ids=["grown", "compacted", "cleared", "replaced", "closed", "deleted"],
)
def test_views_keep_their_bytes_whatever_becomes_of_the_dataset(tmp_path, act):
    expected = [np.arange(k, dtype=np.float64) for k in range(2000)]
    rows = RaggedMmap.from_generator(tmp_path / "ds", expected)
    views, some, iterator = rows[:], rows.select([3, 1]), iter(rows)
    table = rows.to_arrow()

    act(rows)
    del rows
    gc.collect()

    for view, row in zip(views, expected, strict=True):
        np.testing.assert_array_equal(view, row)
    for row, found in zip(expected, iterator, strict=True):
        np.testing.assert_array_equal(found, row)
    np.testing.assert_array_equal(some[0], expected[3])
    assert table["sample"][7].as_py() == expected[7].tolist()
