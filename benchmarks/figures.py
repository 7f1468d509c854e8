"""From single results to figures: medians with their spread, and ratios between systems."""

import statistics
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """Seconds per sample of one system and measure, over all rounds."""

    median: float
    low: float
    high: float
    first: float  # median of the first passes
    count: int  # samples per pass
    passes: int


class Figures:
    """The results of one section ("strings" or "scaling"), looked up by measure and system."""

    def __init__(self, section: Results | None) -> None:
        self.section = section or {}
        self.results: list[Results] = self.section.get("results", [])

    def select(self, measure: str, system: str, **where: object) -> list[Results]:
        """Return the single results of a measure and system that did not fail."""
        wanted = {"measure": measure, "system": system, **where}
        return [
            result
            for result in self.results
            if "error" not in result and all(result.get(key) == value for key, value in wanted.items())
        ]

    def error(self, measure: str, system: str) -> str | None:
        """Return why a measure failed, if it never succeeded."""
        failed = [r for r in self.results if r["measure"] == measure and r["system"] == system and "error" in r]
        return failed[0]["error"] if failed and not self.select(measure, system) else None

    def figure(self, measure: str, system: str, **where: object) -> Figure | None:
        """Return the pooled later passes of a measure and system, per sample."""
        results = [result for result in self.select(measure, system, **where) if "later" in result]
        if not results:
            return None
        count = results[0]["count"]
        later = [seconds / count for result in results for seconds in result["later"]]
        first = statistics.median(result["first"] / count for result in results)
        return Figure(statistics.median(later), min(later), max(later), first, count, len(later))

    def median(self, measure: str, system: str, **where: object) -> float | None:
        """Return the median seconds per sample."""
        figure = self.figure(measure, system, **where)
        return figure.median if figure else None

    def ratio(self, measure: str, system: str, reference: str = "ours", *, of: str | None = None) -> float | None:
        """Return how many times the reference's time another system takes, in `of` where measures differ."""
        return divide(self.median(measure, system), self.median(of or measure, reference))

    def value(self, measure: str, system: str, key: str, **where: object) -> float | None:
        """Return the median of one more number that a measure gives."""
        values = [result[key] for result in self.select(measure, system, **where) if key in result]
        return statistics.median(values) if values else None


def divide(above: float | None, below: float | None) -> float | None:
    """Divide where both numbers were measured."""
    return above / below if above is not None and below else None
