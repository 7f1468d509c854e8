"""Programs that use a framework pass mypy with the types of that framework itself."""

import os
import subprocess
import sys

import pytest

from support.pages import ROOT, blocks_of

pytest.importorskip("mypy")

# Of packages that have no types, or are not installed, the rest of the program is checked.
UNTYPED = ["--disable-error-code=import-untyped", "--disable-error-code=import-not-found"]
UNTYPED += ["--allow-untyped-calls"]  # functions of JAX
PAGES = ["docs/guides/pytorch.md", "docs/guides/huggingface.md", "docs/guides/frameworks.md", "docs/guides/jax.md"]
EXAMPLES = [f"examples/{path.name}" for path in sorted(ROOT.glob("examples/train_*.py"))]


@pytest.mark.parametrize("name", [*PAGES, *EXAMPLES])
def test_programs_pass_mypy(name, tmp_path):
    text = "\n".join(blocks_of(name)) if name in PAGES else (ROOT / name).read_text()
    (tmp_path / "program.py").write_text(text)

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *UNTYPED, "--config-file", "", tmp_path / "program.py"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env=os.environ | {"MYPY_CACHE_DIR": str(tmp_path.parent / "mypy")},
    )  # fmt: skip

    assert checked.returncode == 0, checked.stdout
