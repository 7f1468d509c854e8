"""The command `mmap-ninja`: in this process, and as a process of its own."""

import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from mmap_ninja.cli.main import cli

COMMAND = [sys.executable, "-m", "mmap_ninja"]
QUICK = {"PYTHONDONTWRITEBYTECODE": "", "OPENBLAS_NUM_THREADS": "1"}  # compile modules once, and start no threads


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run(*words, typed=None):
    """Run the command in this process."""
    result = CliRunner().invoke(cli, [str(word) for word in words], input=typed, prog_name="mmap-ninja")
    return Ended(result.exit_code, result.stdout, result.stderr)


def process(*words, **options):
    """Run it as a process of its own."""
    given = {"capture_output": True, "text": True, "env": environment(), **options}
    ended = subprocess.run([*COMMAND, *map(str, words)], check=False, **given)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def environment():
    """The environment of a shell in which `mmap-ninja` is the command that is tested."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **QUICK}


def script(text, cwd=None):
    """Run a line of bash."""
    ended = subprocess.run(
        ["bash", "-c", text], check=False, capture_output=True, text=True, cwd=cwd, env=environment()
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


class Terminal:
    """A terminal of 80 columns and 24 lines, in which a program runs."""

    def __init__(self, words, cwd):
        self._terminal, inside = pty.openpty()
        termios.tcsetwinsize(inside, (24, 80))
        streams = {"stdin": inside, "stdout": inside, "stderr": inside}
        self._program = subprocess.Popen(words, cwd=cwd, env=environment(), start_new_session=True, **streams)
        os.close(inside)
        self.shown = ""

    def type(self, text):
        """Press keys."""
        os.write(self._terminal, text.encode())

    def wait_for(self, *texts):
        """Wait until the terminal shows one of some texts, or the program has ended; whether it shows one."""
        deadline = time.monotonic() + 60
        while not any(self.shown.endswith(text) for text in texts):
            assert time.monotonic() < deadline, self.shown
            if select.select([self._terminal], [], [], 0.1)[0]:
                try:
                    got = os.read(self._terminal, 65536)
                except OSError:  # EIO on Linux: it has ended
                    got = b""
                if not got:
                    return False
                self.shown += got.decode(errors="replace")
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._terminal)
        self._program.kill()
        self._program.wait()

    def code(self):
        """The exit code of the program, which has ended."""
        return self._program.wait(60)
