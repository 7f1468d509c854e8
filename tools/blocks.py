"""Write the Python blocks of each page to a file, so that type checkers can read them: `python tools/blocks.py OUT`."""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# PyTorch is too large to install for its types; mypy reports whatever else cannot be imported.
HEADER = "# pyright: reportMissingImports=false\n"
HEADERS = {"webdataset": "# pyright: reportAttributeAccessIssue=false\n"}  # its types lack most of its names


def main(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))):
        text = page.read_text()
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        if blocks:
            name = "_".join(page.relative_to(ROOT).with_suffix("").parts).replace("-", "_").replace(".", "_").lower()
            headers = [more for library, more in HEADERS.items() if library in name]
            (out / f"{name}_page.py").write_text("".join([HEADER, *headers]) + "\n".join(blocks))


main(Path(sys.argv[1]))
