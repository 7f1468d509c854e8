"""From single results to figures: medians with their spread."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from measures.alternation import TAIL_MIB
from systems import SYSTEMS

Results = dict[str, Any]


class Figures:
    def __init__(self, sections: dict[str, Results]) -> None:
        self.sections = sections
        self.results: dict[tuple[str, str], list[Results]] = defaultdict(list)
        for section in sections.values():
            for result in section["results"]:
                self.results[result["measure"], result["system"]].append(result)

    def all(self, *measures: str) -> list["Figure"]:
        """Return a figure of each system that has one, of one measure after the other."""
        found = [self.of(measure, system) for measure in measures for system in SYSTEMS]
        return [figure for figure in found if figure is not None]

    def of(self, measure: str, system: str = "ours") -> "Figure | None":
        timed = [result for result in self.results.get((measure, system), ()) if "later" in result]
        return Figure(self, measure, system, timed) if timed else None

    def value(self, measure: str, system: str = "ours", key: str | None = None) -> float | None:
        """Return the median seconds per sample, or the median of one more number that a measure gives."""
        if key in {None, "first"}:
            return getattr(self.of(measure, system), key or "median", None)
        if key in {"slowest", "fastest"}:
            tails = [found for tail in TAIL_MIB if (found := self.value(measure, system, f"tail_{tail}")) is not None]
            return {"slowest": max, "fastest": min}[key](tails, default=None)
        values = [result[key] for result in self.results.get((measure, system), ()) if key in result]
        return statistics.median(values) if values else self.built(measure, system).get(key)

    def built(self, subject: str, system: str) -> Results:
        """Return the sizes of a dataset that was built before all rounds."""
        about = (section["systems"].get(system, {}).get("subjects", {}) for section in self.sections.values())
        return next((subjects[subject] for subjects in about if subject in subjects), {})

    def failed(self, measures: Iterable[str]) -> list[tuple[str, str, str]]:
        """Return the measures and systems that never succeeded, and why."""
        found = [(measure, system, self.results.get((measure, system))) for measure in measures for system in SYSTEMS]
        return [(m, name, r[0]["error"]) for m, name, r in found if r and all("error" in result for result in r)]


class Figure:
    """What was measured of one system in one measure: the later passes of all rounds, per sample."""

    def __init__(self, figures: Figures, measure: str, system: str, results: list[Results]) -> None:
        self.figures, self.measure, self.system = figures, measure, system
        self.subject, _, self.what = measure.partition(".")
        self.count = results[0]["count"]
        later = [seconds / self.count for result in results for seconds in result["later"]]
        self.median, self.low, self.high, self.passes = statistics.median(later), min(later), max(later), len(later)
        self.first = statistics.median(result["first"] / self.count for result in results)
        self.built = figures.built(self.subject, system)

    def get(self, key: str | None = None, what: str = "") -> float | None:
        """Return a number of this measure, or of another one of the same subject."""
        return self.figures.value(f"{self.subject}.{what or self.what}", self.system, key)

    def spread(self, shown: Callable[[float], str], count: int = 1) -> str:
        return f"{shown(self.low * count)} - {shown(self.high * count)}"

    def ratio(self, what: str = "") -> float | None:
        """Return how many times our time of this measure, or of another one of the same subject, it is."""
        return divide(self.median, self.figures.value(f"{self.subject}.{what or self.what}"))


def divide(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None
