"""Rounds of measurements: every one in a process of its own, the systems in turn, so that a drift hits all."""

import argparse
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from corpus import CACHE
from task import HERE, Result, Task, find_pythons, run


class Step(NamedTuple):
    """One measure of a plan."""

    rounds: int = 99  # at most
    systems: tuple[str, ...] | None = None  # None: all
    options: Result = {}  # noqa: RUF012 - never changed


class Extent(NamedTuple):
    """How much a run measures where the command line does not say."""

    rounds: int
    systems: Collection[str]
    measures: Collection[str]


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of what all plans have in common; a plan says what `--quick` is for it."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--rounds", type=int, help="fewer with --quick")
    found.add_argument("--systems", help="comma-separated; all by default")
    found.add_argument("--measures", help="comma-separated; all by default")
    found.add_argument("--python", action="append", default=[], metavar="ENVIRONMENT=PATH", help="an interpreter")
    found.add_argument("--output", type=Path, help="folder of the results; benchmarks, or the cache with --quick")
    return found


def parsed(parser: argparse.ArgumentParser, whole: Extent, quick: Extent) -> argparse.Namespace:
    """Parse the command line, and fill in what it leaves open."""
    options = parser.parse_args()
    extent = quick if options.quick else whole
    options.systems = choose(parser, options.systems, whole.systems) or list(extent.systems)
    options.measures = choose(parser, options.measures, whole.measures) or list(extent.measures)
    options.rounds = options.rounds or extent.rounds
    options.output = options.output or (CACHE / "quick" if options.quick else HERE)
    return options


def choose(parser: argparse.ArgumentParser, named: str | None, known: Collection[str]) -> list[str]:
    """Split a comma-separated choice, if there is one, and refuse unknown names."""
    names = named.split(",") if named else []
    if unknown := [name for name in names if name not in known]:
        parser.error(f"{unknown[0]!r} is unknown (expected some of {', '.join(known)})")
    return names


class Run:
    """One run of a plan: the systems that are there, and the tasks they are given."""

    PLAN: ClassVar[Mapping[str, Step]]
    SYSTEMS: ClassVar[Mapping[str, tuple[str, str]]]

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options = options
        self.scratch = scratch
        lookup = find_pythons([f"bench={sys.executable}", *options.python])
        self.pythons = {name: lookup(self.SYSTEMS[name][1]) for name in options.systems}
        self.systems: dict[str, Result] = {}
        self.unsupported: set[tuple[str, str]] = set()

    def task(self, name: str, measure: str) -> Task:
        """Describe one measurement to its process."""
        raise NotImplementedError

    def wanted(self, number: int, measure: str, name: str) -> bool:
        """Tell whether a system takes part in a measure in this round."""
        most, systems, _ = self.PLAN[measure]
        return number < most and (systems is None or name in systems) and (name, measure) not in self.unsupported

    def prepare(self) -> None:
        """Build every system's datasets once; a system that cannot is left out, with the reason."""
        for name, python in self.pythons.items():
            if python is None:
                self.systems[name] = {"error": "not installed; `make bench` installs it"}
            else:
                self.systems[name] = self.prepare_system(name, python)
            progress(f"prepare {name}: {self.systems[name].get('error', 'done')}")

    def prepare_system(self, name: str, python: str) -> Result:
        """Build one system's datasets, and describe it."""
        return run(python, self.task(name, "prepare"))

    def rounds(self) -> Iterator[Result]:
        """Measure round by round; within a measure the systems take turns, each round in another order."""
        ready = [name for name, result in self.systems.items() if "error" not in result]
        for number in range(self.options.rounds if ready else 0):
            turn = ready[number % len(ready) :] + ready[: number % len(ready)]
            for measure in self.options.measures:
                yield from self.one_turn(number, measure, turn)

    def one_turn(self, number: int, measure: str, turn: Sequence[str]) -> Iterator[Result]:
        """Measure one thing of each system."""
        for name in turn:
            if not self.wanted(number, measure, name):
                continue
            result = run(self.pythons[name], self.task(name, measure))
            progress(f"round {number + 1}/{self.options.rounds} {measure} {name}: {shown(result)}")
            if "unsupported" in result:
                self.unsupported.add((name, measure))
            else:
                yield {"round": number, "system": name, "measure": measure} | result

    def described(self) -> Result:
        """Return what the report says of the run, beside the machine."""
        return {"rounds": self.options.rounds, "quick": self.options.quick, "minutes": minutes()}


def shown(result: Result) -> str:
    """Put one result into a few words."""
    if "later" not in result:
        return ", ".join(f"{key} {value}" for key, value in result.items() if key not in {"settings", "limits"})
    later = sorted(result["later"])
    return f"first {result['first']:.4g} s, later {later[len(later) // 2]:.4g} s"


STARTED = time.monotonic()


def minutes() -> float:
    """Return the time since the start."""
    return round((time.monotonic() - STARTED) / 60, 1)


def progress(line: str) -> None:
    """Print a line with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {line}", flush=True)
