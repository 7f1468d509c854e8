"""How fast are 100,000 reviews read, built and appended, here and elsewhere?

Every measurement runs in a process of its own; systems take turns within a round, so that a drift of
the machine hits all of them. Writes results.json, RESULTS.md and a plot.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import environment
import report
from corpus import CACHE, Corpus, new_scratch
from systems import SYSTEMS
from task import HERE, Result, Task, find_pythons, run

# measure -> (rounds at most, systems or None for all, options). They run in this order within a round.
PLAN: dict[str, tuple[int, tuple[str, ...] | None, Result]] = {
    "iterate": (99, None, {}),
    "random": (99, None, {}),
    "batches": (99, None, {}),
    "jagged": (99, None, {}),
    "demo": (99, ("ours", "upstream", "files"), {}),
    "build": (99, None, {}),
    "build_unsynced": (99, ("ours",), {}),
    "append_1e3": (3, ("ours", "upstream", "lmdb", "lance"), {"base": 1000}),
    "append_1e5": (3, ("ours", "upstream", "lmdb", "lance"), {"base": 100_000}),
    "open": (3, None, {}),
    "pickle": (1, None, {}),
    "alternate": (3, ("ours",), {}),
    "cold_iterate": (3, None, {}),
    "cold_batches": (3, None, {"samples": 20_224}),  # 79 batches
}
QUICK_SAMPLES = 25_000
COLD = {"cold_iterate", "cold_batches"}
# What a system is left out of: a floor for builds only, a ceiling for reads only, second ways to read.
NO_PART = {
    "pwrite": set(PLAN) - {"build"},
    "ram": {"build", "open", "pickle", *COLD},
    "files": {"batches", "jagged", "pickle", "cold_batches"},
    "datasets-arrow": {"build"},
    "bagz-default": {"build"},
}
# Rounds of what takes many seconds each time: processes that start slowly, 100,000 files, a thread pool.
FEWER_ROUNDS = {"mds": 2, "litdata": 2, "files": 3, "bagz-default": 3}
ONCE = {("files", "build"), ("files", "cold_iterate"), ("files", "open"), ("litdata", "build")}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder of *.txt files, or 'generated'")
    parser.add_argument("--samples", type=int, help="use the first so many texts; 25000 with --quick")
    parser.add_argument("--rounds", type=int, help="5, or 2 with --quick")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="comma-separated; all by default")
    parser.add_argument("--measures", default=",".join(PLAN), help="comma-separated; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="a quarter of the texts, fewer rounds and passes, nothing cold"
    )
    parser.add_argument("--python", action="append", default=[], metavar="ENVIRONMENT=PATH", help="an interpreter")
    parser.add_argument("--output", type=Path, help="folder of the results; benchmarks, or the cache with --quick")
    options = parser.parse_args()
    options.systems = choose(parser, options.systems, SYSTEMS)
    options.measures = choose(parser, options.measures, PLAN)
    options.samples = options.samples or (QUICK_SAMPLES if options.quick else None)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.output = options.output or (CACHE / "quick" if options.quick else HERE)
    return options


def choose(parser: argparse.ArgumentParser, named: str, known: dict[str, object]) -> list[str]:
    """Split a comma-separated choice and refuse unknown names."""
    names = named.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"{unknown[0]!r} is unknown (expected some of {', '.join(known)})")
    return names


class Run:
    """One run of the benchmark: the systems that are there, and the tasks they are given."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options = options
        self.scratch = scratch
        self.corpus = Corpus.find(options.data, options.samples, scratch / "corpus")
        lookup = find_pythons([f"bench={sys.executable}", *options.python])
        self.pythons = {name: lookup(SYSTEMS[name][1]) for name in options.systems}
        self.systems: dict[str, Result] = {}
        self.unsupported: set[tuple[str, str]] = set()

    def prepare(self) -> None:
        """Build every system's dataset once; a system that cannot is left out, with the reason."""
        for name, python in self.pythons.items():
            if python is None:
                self.systems[name] = {"error": "not installed; `make bench` installs it"}
            else:
                self.systems[name] = run(python, self.task(name, "prepare"))
            progress(f"prepare {name}: {self.systems[name].get('error', 'done')}")

    def task(self, name: str, measure: str) -> Task:
        """Describe one measurement to its process."""
        return Task(
            system=name,
            measure=measure.split("_1e", maxsplit=1)[0],
            corpus=str(self.corpus.path),
            dataset=str(self.scratch / "built" / name),
            scratch=str(self.scratch),
            later_passes=1 if self.options.quick else 3,
            options=PLAN[measure][2] if measure in PLAN else {},
        )

    def rounds(self) -> Iterator[Result]:
        """Measure round by round; within a measure the systems take turns, each round in another order."""
        ready = [name for name, result in self.systems.items() if "error" not in result]
        for number in range(self.options.rounds):
            turn = ready[number % len(ready) :] + ready[: number % len(ready)]
            for measure in self.options.measures:
                for name in turn:
                    if self.wanted(number, measure, name):
                        result = run(self.pythons[name], self.task(name, measure))
                        progress(f"round {number + 1}/{self.options.rounds} {measure} {name}: {shown(result)}")
                        if "unsupported" in result:
                            self.unsupported.add((name, measure))
                        else:
                            yield {"round": number, "system": name, "measure": measure} | result

    def wanted(self, number: int, measure: str, name: str) -> bool:
        """Tell whether a system takes part in a measure in this round."""
        most, systems, _ = PLAN[measure]
        most = 1 if (name, measure) in ONCE else min(most, FEWER_ROUNDS.get(name, most))
        return (
            number < most
            and (systems is None or name in systems)
            and measure not in NO_PART.get(name, ())
            and not (self.options.quick and self.too_long(number, measure, name))
            and (name, measure) not in self.unsupported
        )

    @staticmethod
    def too_long(number: int, measure: str, name: str) -> bool:
        """Tell what a quick run does without: all that is cold, and 100,000 files more than once."""
        return measure in COLD or (name == "files" and (number > 0 or measure not in {"iterate", "demo"}))


def shown(result: Result) -> str:
    """Put one result into a few words."""
    if "later" not in result:
        return ", ".join(f"{key} {value}" for key, value in result.items() if key not in {"settings", "limits"})
    later = sorted(result["later"])
    return f"first {result['first']:.4g} s, later {later[len(later) // 2]:.4g} s"


STARTED = time.monotonic()


def progress(line: str) -> None:
    """Print a line with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {line}", flush=True)


def main() -> None:
    """Run all and write the report."""
    options = arguments()
    described = environment.describe()
    scratch = new_scratch("strings")
    try:
        bench = Run(options, scratch)
        bench.prepare()
        runs = list(bench.rounds())
        offsets = bench.corpus.offsets
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    described |= {
        "data": bench.corpus.label,
        "num_samples": len(offsets) - 1,
        "payload_bytes": int(offsets[-1]),
        "rounds": options.rounds,
        "quick": options.quick,
        "minutes": round((time.monotonic() - STARTED) / 60, 1),
    }
    report.update(options.output, "strings", {"run": described, "systems": bench.systems, "results": runs})


if __name__ == "__main__":
    main()
