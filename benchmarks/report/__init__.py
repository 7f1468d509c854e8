"""Writes a report from its template and the results: `python benchmarks/report` writes all of them again."""

import json
import re
from pathlib import Path

from plan import SECTIONS

from report import plots
from report.figures import Figures
from report.tables import PLACEHOLDERS

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
REPORTS = ("RESULTS.md", "ARRAYS.md", "RECORDS.md", "LOADING.md", "FRAMEWORKS.md")


def write(name: str, results: Path, folder: Path) -> None:
    """Write one report, and its plots, into a folder."""
    stored = {section: results / f"{section}.json" for section in SECTIONS if SECTIONS[section].report == name}
    figures = Figures({section: json.loads(path.read_text()) for section, path in stored.items() if path.exists()})

    def filled(match: re.Match[str]) -> str:
        placeholder, *words = match[1].split()
        return PLACEHOLDERS[placeholder](figures, *words)

    page = (TEMPLATES / name).read_text()
    (folder / "plots").mkdir(exist_ok=True)
    for plot in re.findall(r"\]\(plots/([\w-]+\.svg)\)", page):
        (folder / "plots" / plot).write_text(plots.draw(figures, plot))
    (folder / name).write_text(re.sub(r"\{\{(.+?)\}\}", filled, page))
    print(f"wrote {folder / name}", flush=True)
