"""The machine and the run, in words, without naming any path of it."""

import datetime as dt
import os
import platform
import shutil
import sys
from pathlib import Path


def describe(corpus: dict[str, object] | None = None) -> dict[str, object]:
    """Return what a reader needs to judge the figures of a run."""
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "filesystem": _filesystem(Path(__file__).resolve()),
        "free_disk_gib": round(shutil.disk_usage(Path(__file__).parent).free / 2**30),
        "load_at_start": round(os.getloadavg()[0], 2),
    } | (corpus or {})


def command() -> str:
    """Return the command line, folders shortened to their last part."""
    shown = [part if "/" not in part else part.rsplit("/", 1)[-1] for part in sys.argv[1:]]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *shown])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _filesystem(path: Path) -> str:
    """Return the type of the file system that holds a path: the longest mount point that it starts with."""
    best = ("", "unknown")
    try:
        for line in Path("/proc/mounts").read_text().splitlines():
            _, mount, kind, *_ = line.split()
            if str(path).startswith(mount) and len(mount) >= len(best[0]):
                best = (mount, kind)
    except OSError:
        pass
    return best[1]
