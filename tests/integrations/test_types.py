"""Programs that use a framework pass mypy with the types of that framework itself."""

import subprocess
import sys

import pytest

from support.pages import blocks_of

pytest.importorskip("mypy")


@pytest.mark.parametrize("page", ["docs/pytorch.md"])
def test_blocks_of_a_page_pass_mypy(page, tmp_path):
    (tmp_path / "page.py").write_text("\n".join(blocks_of(page)))

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", tmp_path / "page.py"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip

    assert checked.returncode == 0, checked.stdout
