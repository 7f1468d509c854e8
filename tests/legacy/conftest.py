"""Directories written by released versions of 0.x."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WRITER = Path(__file__).parents[1] / "support" / "legacy_writer.py"
PIP_SECONDS = 40


@pytest.fixture(scope="module", params=["0.2.4", "0.9.0"])
def written(request, tmp_path_factory):
    """A folder with datasets written by a released version."""
    folder = tmp_path_factory.mktemp("version")
    install = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--retries", "0", "--timeout", "5", "--target", folder / "site", f"mmap_ninja=={request.param}",
    ]  # fmt: skip
    try:
        subprocess.run(install, check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"NOT TESTED: pip did not install mmap_ninja {request.param} within {PIP_SECONDS} s")
    except subprocess.CalledProcessError as error:
        reason = [line for line in error.stderr.splitlines() if line.strip()] or ["no reason given"]
        pytest.skip(f"NOT TESTED: pip could not install mmap_ninja {request.param}: {reason[-1]:.200}")
    subprocess.run(
        [sys.executable, WRITER, folder / "site", request.param, folder],
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )
    return folder
