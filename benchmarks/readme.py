"""Copies the figures of the README from the reports: what stands there between the marks of the same names."""

import re

from report import REPORTS
from task import HERE, ROOT

BLOCK = re.compile(r"<!-- ([\w-]+): begin -->\n.*?<!-- \1: end -->", re.DOTALL)


def filled(page: str) -> str:
    """Return a page with the blocks that the reports have."""
    reports = "\n".join((HERE / name).read_text() for name in (*REPORTS, "FEATURES.md"))
    blocks = {match[1]: match[0] for match in BLOCK.finditer(reports)}
    return BLOCK.sub(lambda match: blocks.get(match[1], match[0]), page)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text()))
