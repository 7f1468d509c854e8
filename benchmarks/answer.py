"""Tells what the feature table needs of one system, in its environment, and prints it; started by `compare.py`.

Without a row: its cells and versions. With one: what the probe of this row found.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import features
from features import rows
from task import MARKER


def described(system: str) -> dict[str, object]:
    cells = {row: cell._asdict() for row, cell in features.load(system).CELLS.items()}
    return {"cells": cells, "versions": {name: version(name) for name in features.COMPARED[system].distributions}}


def found(system: str, row: str, folder: str) -> dict[str, object]:
    return rows.answered(features.load(system).System, row, Path(folder))._asdict()


if __name__ == "__main__":
    done = found(*sys.argv[1:]) if len(sys.argv) > 2 else described(sys.argv[1])
    print(f"\n{MARKER}{json.dumps(done)}", flush=True)
