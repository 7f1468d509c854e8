"""Fills the feature table: runs the probes of `features/`, each in a process of its own, and writes FEATURES.md.

The words are systems, and rows; all of them without any. The table of everything goes to benchmarks/, one of a part to
build/bench/part.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import environment
from features import COMPARED
from features.rows import ROWS
from features.table import write
from task import HERE, MARKER, QUIET, ROOT, python_of

TIMEOUT_SECONDS = 900
AT_ONCE = 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="NAME", help="a system, or a row")
    parser.add_argument("--output", type=Path, help="folder of the results and the table")
    options = parser.parse_args()
    if unknown := sorted(set(options.words) - {*COMPARED, *ROWS}):
        parser.error(f"{unknown[0]!r} is unknown (expected {', '.join([*COMPARED, *ROWS])})")
    options.systems = [name for name in COMPARED if name in options.words] or list(COMPARED)
    options.rows = [name for name in ROWS if name in options.words] or list(ROWS)
    return options


def ask(python: str, *words: str) -> dict[str, object]:
    command = [python, str(HERE / "answer.py"), *words]
    quiet = os.environ | QUIET | {"HF_HOME": f"{words[-1]}/huggingface"}
    try:
        done = subprocess.run(
            command, env=quiet, cwd=HERE, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {TIMEOUT_SECONDS} s"}
    for line in done.stdout.splitlines():
        if MARKER in line:
            return json.loads(line.split(MARKER, 1)[1])
    return {"error": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]}


def answers(system: str, rows: list[str], folder: Path) -> dict[str, object] | None:
    """Return what stands in the column of a system, None where it is not installed."""
    python = python_of(COMPARED[system].environment)
    described = {"error": "not installed"} if python is None else ask(python, system)
    if "error" in described:
        print(f"{system}: {described['error']}", flush=True)
        return None
    for row in rows:
        cell = described["cells"][row]
        if not cell["answer"]:
            told = ask(python, system, row, str(folder / system))
            cell["found"] = {what: said.replace(f"{folder}/", "") for what, said in told.items()}
            print(system, row, *cell["found"].values(), sep=": ", flush=True)
    return described


def main() -> None:
    options = arguments()
    results = ROOT / "build" / "bench"
    results.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="features-", dir=results))
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            columns = list(pool.map(lambda system: answers(system, options.rows, folder), options.systems))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = {system: column for system, column in zip(options.systems, columns, strict=True) if column}
    whole = len(found) == len(COMPARED) and len(options.rows) == len(ROWS)
    output = options.output or (results if whole else results / "part")
    output.mkdir(parents=True, exist_ok=True)
    run = environment.describe()
    result = {"run": {name: run[name] for name in ("date", "system", "python")}, "rows": options.rows, "systems": found}
    (output / "features.json").write_text(json.dumps(result, indent=1))
    write(result, HERE if output == results else output)


if __name__ == "__main__":
    main()
