"""How much memory there is for the page cache."""

import os

import pytest

from mmap_ninja.engine import memory

GIB = 1 << 30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system with 8 GiB available; gives a function that writes files of it."""
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("proc/meminfo", f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable:    {8 * GIB // 1024} kB\n")
    return write


def test_memory_that_is_available_is_told_by_the_system(system):
    assert memory.available() == 8 * GIB


@pytest.mark.parametrize("group", ["/", "/jobs/7"])
def test_limit_of_a_container_counts(system, group):
    system("proc/self/cgroup", f"0::{group}\n")
    system(f"cgroup{group}/memory.max", f"{4 * GIB}\n")
    system(f"cgroup{group}/memory.current", f"{3 * GIB}\n")
    system(f"cgroup{group}/memory.stat", f"anon {GIB}\nactive_file {GIB // 2}\ninactive_file {GIB}\n")

    assert memory.available() == 2.5 * GIB


def test_limit_of_an_old_container_counts(system):
    system("proc/self/cgroup", "4:memory:/docker/7\n0::/\n")
    system("cgroup/memory/memory.limit_in_bytes", f"{4 * GIB}\n")
    system("cgroup/memory/memory.usage_in_bytes", f"{3 * GIB}\n")
    stat = f"active_file 0\ninactive_file 0\ntotal_active_file {GIB // 2}\ntotal_inactive_file {GIB}\n"
    system("cgroup/memory/memory.stat", stat)

    assert memory.available() == 2.5 * GIB


def test_group_without_a_limit_has_none(system):
    system("proc/self/cgroup", "0::/\n")
    system("cgroup/memory.max", "max\n")
    system("cgroup/memory.current", f"{3 * GIB}\n")
    system("cgroup/memory.stat", "active_file 0\ninactive_file 0\n")

    assert memory.available() == 8 * GIB


def test_system_that_tells_nothing_has_half_of_its_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)

    assert memory.available() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
