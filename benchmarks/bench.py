"""Measures what its words name (sections, subjects, measures, systems; everything without any) and writes the reports.

The results lie in build/bench. A report of everything goes to benchmarks/, one of a part to build/bench/part.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import environment
import report
from plan import SECTIONS, Section, choose
from rounds import Rounds
from systems import SYSTEMS
from task import HERE, ROOT

RESULTS = ROOT / "build" / "bench"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="NAME", help="section, subject, measure or system")
    parser.add_argument("--rounds", type=int, help="at most so many")
    parser.add_argument("--scale", type=float, default=1.0, help="times the samples of a whole run")
    parser.add_argument("--data", type=Path, help="a folder of *.txt files; generated texts by default")
    parser.add_argument("--photos", type=Path, help="a folder of *.jpg files; generated ones by default")
    parser.add_argument("--output", type=Path, help="folder of the results and reports")
    options = parser.parse_args()
    try:
        options.sections, options.systems = choose(options.words)
    except ValueError as error:
        parser.error(str(error))
    return options


def measure(section: Section, options: argparse.Namespace) -> dict[str, object]:
    described = environment.describe()
    RESULTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=RESULTS))  # on the file system of the project
    try:
        rounds = Rounds(section, options.systems, folder, options)
        rounds.lay_out()
        rounds.prepare()
        results = list(rounds.results())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"run": described | rounds.facts(), "systems": rounds.systems, "results": results}


def main() -> None:
    options = arguments()
    whole = options.scale == 1 and not options.rounds and options.systems == list(SYSTEMS)
    for name, section in options.sections.items():
        of_all = whole and len(section.measures) == len(SECTIONS[name].measures)
        results = options.output or (RESULTS if of_all else RESULTS / "part")
        results.mkdir(parents=True, exist_ok=True)
        (results / f"{name}.json").write_text(json.dumps(measure(section, options)))
        parts = [part for part, other in SECTIONS.items() if other.report == section.report]
        complete = results == RESULTS and all((RESULTS / f"{part}.json").exists() for part in parts)
        report.write(section.report, results, HERE if complete else results)


if __name__ == "__main__":
    main()
