"""Rounds of measurements: every one in a process of its own, the systems in turn, so that a drift hits all."""

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from data import originals, photos, texts
from plan import SUBJECTS, Measure, Section
from systems import SYSTEMS
from task import Result, Task, python_of, run

STARTED = time.monotonic()


def progress(line: str) -> None:
    print(f"[{time.monotonic() - STARTED:6.1f} s] {line}", flush=True)


class Rounds:
    """Those measures of a section that are wanted, of those systems that are wanted and installed."""

    def __init__(self, section: Section, systems: Sequence[str], folder: Path, options: Namespace) -> None:
        self.started = time.monotonic()
        self.section = section
        self.folder = folder
        self.options = options
        self.number = min(section.rounds, options.rounds or section.rounds)
        self.pythons = {name: python_of(SYSTEMS[name].environment) for name in systems}
        self.systems: dict[str, Result] = {}  # what the report says of each
        self.able: dict[tuple[str, str], list[str]] = {}  # system and subject -> the measures in which it takes part
        self.samples: dict[str, int] = {}
        self.files: list[str] = []

    def count(self, whole: int) -> int:
        """Return how many of so many samples there are in this run: a multiple of 100."""
        return max(2, int(whole * self.options.scale) // 100) * 100

    def lay_out(self) -> None:
        subjects = dict.fromkeys(measure.subject for measure in self.section.measures)
        if not subjects.keys().isdisjoint({"photos", "decode", "train_photos"}):
            self.files = photos.files(self.options.photos or photos.generate(self.folder / "jpegs"))
        for subject in subjects:
            generate, count = SUBJECTS[subject].generate, self.count(SUBJECTS[subject].count)
            if subject == "photos":
                found = list(map(photos.decode, self.files[:count]))
            elif subject == "train_photos":
                found = [Path(file).read_bytes() for file in islice(cycle(self.files), count)]
            elif generate is texts.generate and self.options.data:
                found = texts.read(self.options.data, count)
            else:
                found = generate(count) if generate else None
            if found is not None:
                originals.store(self.folder / "originals" / subject, found)
            self.samples[subject] = count if found is None else len(found)
            progress(f"laid out {subject}")

    def task(self, system: str, subject: str, function: str, options: Result) -> Task:
        counts = {"count": self.count(options.get("count", SUBJECTS[subject].count)), "files": self.files}
        return Task(system, SUBJECTS[subject].kind, function, str(self.folder), subject, options | counts)

    def prepare(self) -> None:
        """Build every system's datasets once; what cannot be built is left out, with the reason."""
        for system, python in self.pythons.items():
            about = self.systems[system] = {"subjects": {}}
            if python is None:
                about["error"] = "not installed; `make bench` installs it"
            for subject in self.subjects_of(system) if python else ():
                result = run(python, self.task(system, subject, "prepare", {}))
                progress(f"prepare {subject} {system}: {result.get('error', 'done')}")
                about |= {key: result.pop(key) for key in ("version", "error") if key in result}
                self.able[system, subject] = result.pop("measures", [])
                about["subjects"][subject] = result

    def subjects_of(self, system: str) -> list[str]:
        wanted = dict.fromkeys(measure.subject for measure in self.section.measures if system in measure.systems)
        return [subject for subject in wanted if SUBJECTS[subject].kind in {"", *SYSTEMS[system].kinds}]

    def results(self) -> Iterator[Result]:
        """Measure round by round; within a measure the systems take turns, each round in another order."""
        names = list(self.systems)
        for number in range(self.number):
            turn = names[number % len(names) :] + names[: number % len(names)]
            for measure in self.section.measures:
                for system in turn:
                    if self.wanted(number, measure, system):
                        task = self.task(system, measure.subject, measure.function, measure.options)
                        result = run(self.pythons[system], task)
                        progress(
                            f"round {number + 1}/{self.number} {measure.name} {system}: {result.get('later', result)}"
                        )
                        yield {"round": number, "system": system, "measure": measure.name} | result

    def wanted(self, number: int, measure: Measure, system: str) -> bool:
        return (
            number < min(measure.rounds, self.section.fewer.get(system, self.number))
            and system in measure.systems
            and measure.function in self.able.get((system, measure.subject), ())
        )

    def facts(self) -> Result:
        return {
            "data": f"text files of `{self.options.data.name}`" if self.options.data else "generated",
            "samples": ", ".join(f"{count:,} of {subject}" for subject, count in self.samples.items()),
            "rounds": self.number,
            "minutes": round((time.monotonic() - self.started) / 60, 1),
        }
