"""What the system tells: limits, mounts, disks, files, locks."""

import os
import re
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_UNLIMITED: Final = 1 << 62


class Mount(NamedTuple):
    """A mounted filesystem: where, its type, and its options."""

    point: str
    kind: str
    options: tuple[str, ...]


def number_in(path: str | Path, default: int) -> int:
    """The number in a small file of the system."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return default


def meminfo(name: str) -> int:
    """A value of /proc/meminfo in bytes; 0 if the system does not tell."""
    with suppress(OSError):
        found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def map_count() -> int:
    """How many maps this process has."""
    with suppress(OSError):
        return Path("/proc/self/maps").read_text().count("\n")
    return 0


def resource_limit(name: str) -> int:
    """A soft limit of this process, as of `ulimit`."""
    limit = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit


def mount_of(path: Path) -> Mount:
    """The filesystem that holds a path."""
    best = Mount("/", "", ())
    real = f"{path.resolve()}/"
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            # As in: 36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/sda1 rw
            left, _, right = line.partition(" - ")
            point, options = left.split()[4:6]
            point = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), point)
            if real.startswith(f"{point.rstrip('/')}/") and len(point) >= len(best.point):  # the last one covers others
                best = Mount(point, right.split()[0], tuple(options.split(",")))
    return best


def read_ahead_file(path: Path) -> Path | None:
    """The file that tells how far the disk of a path is read ahead, in KiB, if there is one."""
    device = path.stat().st_dev
    disk = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    for folder in (disk, disk.parent):  # of a partition, its disk
        if (found := Path("/sys/block", folder.name, "queue/read_ahead_kb")).exists():
            return found
    return None


def own_files(path: Path) -> list[Path]:
    """The files that belong to the dataset in a directory."""
    from mmap_ninja.engine import files, upgrade_marks
    from mmap_ninja.format.names import is_own_name

    if upgrade_marks.detect(path):
        return [file for file in path.rglob("*.ninja") if file.is_file()]
    return [path / name for name in files.names(path) if is_own_name(name)]


def lock_holders(path: Path) -> list[str]:
    """The processes that hold the lock of a file, if the system tells: "process 1234 (python train.py)"."""
    with suppress(OSError):
        inode = str(path.stat().st_ino)
        # "1: FLOCK ADVISORY WRITE 1234 fe:00:5678 0 EOF"; waiting processes have "->" in the second field
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return [
            f"process {fields[4]}{_command_of(fields[4])}"
            for fields in lines
            if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].rsplit(":", 1)[-1] == inode
        ]
    return []


def _command_of(process: str) -> str:
    """The command line of a process, in parentheses, if the system tells."""
    with suppress(OSError):
        words = Path("/proc", process, "cmdline").read_bytes().split(b"\0")
        return f" ({b' '.join(words).decode(errors='replace').strip():.60})"
    return ""
