"""The pages of the documentation."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def blocks_of(page):
    """The blocks of Python on a page."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert len(blocks) >= 3
    return blocks
