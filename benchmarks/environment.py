"""The machine, in words, without naming any path of it."""

import datetime as dt
import os
import platform
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def describe() -> dict[str, object]:
    """Return what a reader needs to judge the figures of a run."""
    words = [word.rsplit("/", 1)[-1] for word in sys.argv[1:]]  # folders by their last part
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python benchmarks/bench.py", *words]),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "filesystem": _filesystem(),
        "read-ahead kib": _read_ahead(),
        "free disk gib": round(shutil.disk_usage(HERE).free / 2**30),
        "load at start": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _filesystem() -> str:
    """Return the type of the file system of the project: that of the longest mount point that its path starts with."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    return max((mount for mount in mounts if str(HERE).startswith(mount[0])), key=lambda mount: len(mount[0]))[1]


def _read_ahead() -> str:
    """Return how far the kernel reads ahead of who reads a mapped file in order, which decides cold figures."""
    device = HERE.stat().st_dev
    file = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    return file.read_text().strip() if file.exists() else "unknown"
