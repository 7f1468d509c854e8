"""What the kernel knows of this process: private memory, bytes read from the disk, the page cache."""

import ctypes
import mmap
import os
from pathlib import Path


def private_bytes() -> int:
    """Return the memory that belongs to this process alone, without pages of mapped files.

    That is `Anonymous` in /proc/self/smaps_rollup: heap, stacks and copied-on-write pages. Pages of a mapped
    dataset are the page cache's, whoever looks at them, and are left out.
    """
    return _numbers("/proc/self/smaps_rollup", "Anonymous:") * 1024


def resident_bytes() -> int:
    """Return all memory that this process has, with the pages of files that it has mapped and read."""
    return _numbers("/proc/self/smaps_rollup", "Rss:") * 1024


def trim_heap() -> None:
    """Give free heap back to the kernel, so that growth cannot hide in it; only glibc knows how."""
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)


def disk_bytes_read() -> int:
    """Return how many bytes this process has made the disk deliver so far."""
    return _numbers("/proc/self/io", "read_bytes:")


def _numbers(file: str, *names: str) -> int:
    """Return the sum of the numbers that stand after some names."""
    return sum(int(line.split()[1]) for line in Path(file).read_text().splitlines() if line.startswith(names))


def files_of(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()]


def size_bytes(path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in files_of(path))


def warm(path: Path) -> None:
    """Read every file once, so that the page cache holds the dataset."""
    with mmap.mmap(-1, 1 << 20) as buffer:  # given back whole: no free heap that a later measure could hide in
        for file in files_of(path):
            with file.open("rb", buffering=0) as handle:
                while handle.readinto(buffer):
                    pass


def evict(path: Path) -> None:
    """Drop a dataset's files from the page cache; no other file of the machine is touched."""
    for file in files_of(path):
        descriptor = os.open(file, os.O_RDONLY)
        os.fdatasync(descriptor)  # dirty pages would stay
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def drop_page_cache() -> None:
    """Drop all clean pages of files from memory, so that also what leads to a dataset's blocks is read anew."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("1")
    except OSError:
        raise PermissionError("skipped: only root can drop the page cache") from None


def family_bytes() -> int:
    """Return the memory of this process and all its descendants: what is theirs alone, and what they share.

    That is the sum of `Pss_Anon` and `Pss_Shmem` in their smaps_rollup: heap, stacks and shared memory, each page
    that several of them have counted once.
    """
    family, total = [os.getpid()], 0
    for process in family:
        try:
            for children in Path(f"/proc/{process}/task").glob("*/children"):
                family += map(int, children.read_text().split())
            total += _numbers(f"/proc/{process}/smaps_rollup", "Pss_Anon:", "Pss_Shmem:") * 1024
        except OSError:  # it has just ended
            continue
    return total
