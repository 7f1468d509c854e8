"""Programs that use a framework pass mypy with the types of that framework itself."""

import subprocess
import sys

import pytest

from support.pages import blocks_of

pytest.importorskip("mypy")


# Of packages that have no types, or are not installed, the rest of the program is checked.
UNTYPED = ["--disable-error-code=import-untyped", "--disable-error-code=import-not-found"]


@pytest.mark.parametrize("page", ["docs/pytorch.md", "docs/huggingface.md", "docs/frameworks.md"])
def test_blocks_of_a_page_pass_mypy(page, tmp_path):
    (tmp_path / "page.py").write_text("\n".join(blocks_of(page)))

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *UNTYPED, "--config-file", "", tmp_path / "page.py"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip

    assert checked.returncode == 0, checked.stdout
