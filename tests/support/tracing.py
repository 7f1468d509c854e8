"""System calls as traced by strace, and kills at each of them, to check the library's own watched calls."""

import ctypes
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from typing import NamedTuple

import pytest

from support.faults import fork

# Every Linux call that changes a file or its lock, used by the library or not; "?": on some systems only.
_MUTATING = (
    "?open,?openat,?openat2,?creat,?mkdir,mkdirat,?rename,?renameat,renameat2,?unlink,unlinkat,?rmdir,?link,linkat,"
    "?symlink,symlinkat,write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,copy_file_range,sendfile,"
    "splice,fsync,fdatasync,flock,?chmod,fchmod,fchmodat,?chown,fchown,fchownat,setxattr,fsetxattr,mmap"
)
_NAMES = {"pwrite64": "pwrite", "openat": "open", "mkdirat": "mkdir", "renameat": "rename", "renameat2": "rename"}
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_ANY_PROCESS = -1
_SET_TRACER = 0x59616D61  # prctl's PR_SET_PTRACER, for systems where only parents may trace


class Traced(NamedTuple):
    """A system call that changes files below a directory.

    Args:
        name: The library's name for it.
        call: The Linux name.
        number: Its number among the process's calls of that name, from 1.
    """

    name: str
    call: str
    number: int


def require_strace():
    """Skip the test if strace is missing, or tracing is not permitted."""
    if not sys.platform.startswith("linux") or shutil.which("strace") is None:
        pytest.skip("strace is missing")


def calls_of(function, log, root):
    """The calls below `root` that a function makes in a child, and its result."""
    status, value = _traced(function, log, [])
    assert status == 0
    calls, numbers, threads = [], Counter(), set()
    for line in log.read_text().splitlines():
        if (match := _LINE.match(line)) is None:
            continue
        thread, call, rest = match.groups()
        numbers[thread, call] += 1
        if str(root) in rest and (name := _mutation(call, rest)) is not None:
            calls.append(Traced(name, call, numbers[thread, call]))
            threads.add(thread)
    assert len(threads) == 1  # strace counts calls per thread
    return calls, value


def kill_at(call, function, log):
    """Kill a child that runs a function, at a call found by `calls_of`."""
    status, _ = _traced(function, log, ["-e", f"inject={call.call}:signal=KILL:when={call.number}"])
    assert status == -signal.SIGKILL, f"the kill at {call} did not happen: the child ended with {status}"


def _mutation(call, arguments):
    """The library's name for a traced call; None if it changes nothing."""
    if call in ("open", "openat", "openat2") and not re.search(r"O_CREAT|O_TRUNC", arguments):
        return None
    if call == "mmap" and not ("PROT_WRITE" in arguments and "MAP_SHARED" in arguments):
        return None
    if call == "unlinkat":
        return "rmdir" if "AT_REMOVEDIR" in arguments else "unlink"
    return _NAMES.get(call, call)


def _traced(function, log, options):
    """Run a function in a child under strace; returns how it ended, and its result.

    strace is attached to the child before it starts, so that only the function's calls are seen and counted.
    """
    held, gate = os.pipe()

    def child():
        os.close(gate)
        ctypes.CDLL(None).prctl(_SET_TRACER, ctypes.c_long(_ANY_PROCESS), 0, 0, 0)
        os.read(held, 1)
        return function()

    pid, results = fork(child)
    os.close(held)
    # --seccomp-bpf, which is faster, loses injected signals.
    command = ["strace", "-f", "-y", "-s", "0", "-o", log, "-e", f"trace={_MUTATING}", *options]
    strace = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    said = strace.stderr.readline()
    os.write(gate, b"x")
    os.close(gate)
    with os.fdopen(results, "rb") as pipe:
        result = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    strace.communicate()
    if "attached" not in said:
        pytest.skip(f"strace may not trace here: {said}")
    return status, pickle.loads(result) if result else None
