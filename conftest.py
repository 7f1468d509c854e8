"""Before any test imports mmap_ninja, makes sure that the tests run the sources as they are now."""

import compileall
import fcntl
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent
VENV = ROOT / ".venv"


def bring_up_to_date() -> None:
    """Build what changed since `make dev`, or refuse a package that was installed before its sources changed.

    scikit-build-core's `editable.rebuild` would do it at each import: thousands of processes that the tests start would
    each run the cmake that PATH leads to, some under strace, some with no PATH.
    """
    package = importlib.metadata.distribution("mmap_ninja")
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        with (VENV / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if subprocess.run(["make", "--silent", "-C", ROOT, "dev"], check=False).returncode:  # noqa: S603, S607
                sys.exit("make dev failed; the reason stands above")
        # Where PYTHONDONTWRITEBYTECODE is set, each process that a test starts would compile them for itself.
        compileall.compile_dir(ROOT / "src", quiet=1)
        return
    installed = Path(package.locate_file("mmap_ninja/__init__.py")).stat().st_mtime
    for source in (*ROOT.glob("src/**/*.py"), *ROOT.glob("kernel/*.[ch]*"), *ROOT.glob("kernel/python/*.[ch]*")):
        if source.stat().st_mtime > installed:
            sys.exit(f"{source}: changed since mmap_ninja was installed; run `make dev` once, or `make test`")


# Other environments, such as a wheel's, test what is installed there.
if Path(sys.prefix).resolve() == VENV.resolve() and "PYTEST_XDIST_WORKER" not in os.environ:
    bring_up_to_date()
