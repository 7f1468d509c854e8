"""From answers to FEATURES.md."""

from pathlib import Path

from features import COMPARED
from features.rows import ROWS

MISSING = "?"
MARK = "\\*"
HEAD = """\
# What mmap_ninja and others can do

Filled in by `make features`; do not edit.

<!-- features: begin -->
{short}

Each answer without a star was found by a small program that does the thing with the system; one with a star stands in
its documentation. `benchmarks/FEATURES.md` has what each row asks, how each system does it, and what "partly" means.
<!-- features: end -->

The programs are the probes in `features/`. Each tries one way to do a thing, the one that is named below, with small
data on a local disk. "Partly" means that less works than the row asks for, and the tables below say what. That a system
lacks something may be a choice: who reads shards in order from an object store needs no positions.

[RESULTS.md](RESULTS.md) and the reports beside it compare speed.

## The run

| | |
|---|---|
{run}
{versions}
"""


def answer(cell: dict) -> str:
    """Return yes, partly or no, as it stands in a table."""
    if cell["answer"]:
        return cell["answer"] + MARK
    found = cell.get("found", {}).get("answer")
    if found is None:
        return MISSING
    return "partly" if found == "yes" and cell["limited"] else found


def linked(page: str) -> str:
    if page.startswith("docs/"):  # our own
        return f"[{page}](../{page})"
    return f"[{page.removeprefix('https://').partition('#')[0]}]({page})" if page.startswith("https://") else page


def checked(cell: dict) -> str:
    if cell["answer"]:
        return f"not tried; by its documentation: {linked(cell['page'])}"
    found = cell.get("found", {"error": "not run"})
    return f"**the probe failed**: {found['error']}" if "error" in found else found["facts"]


def write(result: dict, folder: Path) -> None:
    systems = result["systems"]
    titles = {system: COMPARED[system].short or COMPARED[system].title for system in systems}
    titles["ours"] = f"**{COMPARED['ours'].title}**"
    lines = ["| | " + " | ".join(titles[system] for system in systems) + " |", "|---" * (len(systems) + 1) + "|"]
    lines += [
        f"| {ROWS[row].title} | " + " | ".join(answer(column["cells"][row]) for column in systems.values()) + " |"
        for row in result["rows"]
    ]
    versions = [
        f"| {name} | {version} |" for column in systems.values() for name, version in column["versions"].items()
    ]
    page = [HEAD.format(
        short="\n".join(lines), versions="\n".join(versions),
        run="\n".join(f"| {name} | {value} |" for name, value in result["run"].items()),
    )]  # fmt: skip
    for row in result["rows"]:
        page.append(
            f"## {ROWS[row].title}\n\n{ROWS[row].asked}\n\n"
            "| system | answer | how | what was found |\n|---|---|---|---|"
        )
        page += [
            f"| {COMPARED[system].title} | {answer(cell)} | {cell['text']} | {checked(cell)} |"
            for system, cell in ((system, column["cells"][row]) for system, column in systems.items())
        ]
        page.append("")
    (folder / "FEATURES.md").write_text("\n".join(page).rstrip() + "\n")
    print(f"wrote {folder / 'FEATURES.md'}", flush=True)
