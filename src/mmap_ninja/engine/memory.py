"""How much memory there is for the page cache."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_NUMBER: Final = re.compile(r"^(?:total_)?(\w+):?\s+(\d+)", re.MULTILINE)


def available() -> int:
    """Bytes that files may take up in memory, including those that they do now, and which others can give back."""
    try:
        limits = [1024 * _numbers(_PROC / "meminfo")["MemAvailable"]]
    except (OSError, KeyError):  # macOS does not tell
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2]
    with suppress(OSError, KeyError, ValueError):
        limits.append(_left(_CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"))
    for line in _read(_PROC / "self/cgroup").splitlines():
        number, _, group = line.split(":", 2)
        if number == "0":  # version 2; a container sees its own group as the root
            with suppress(OSError, KeyError, ValueError):
                limits.append(_left(_CGROUPS / group.lstrip("/"), "memory.max", "memory.current"))
    return max(min(limits), 0)


def _left(group: Path, limit: str, used: str) -> int:
    """What a group of processes may still use; its files give back theirs."""
    counted = _numbers(group / "memory.stat")
    return int(_read(group / limit)) - int(_read(group / used)) + counted["active_file"] + counted["inactive_file"]


def _numbers(file: Path) -> dict[str, int]:
    # Of a number for this group and its total, which comes later, the total.
    return {name: int(number) for name, number in _NUMBER.findall(_read(file))}


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
