"""How fast are records of several columns read and appended, here and elsewhere, and what do edits and merges cost?

Every measurement runs in a process of its own; systems take turns within a round. Writes records.json and RECORDS.md.
"""

import argparse
import shutil

import environment
import record_report
from corpus import new_scratch
from rounds import Extent, Run, Step, parsed, parser
from systems.records import SYSTEMS
from task import Task

OURS = ("ours",)
SAMPLES = {"records": 20_000, "texts": 100_000, "images": 20_000, "files": 200_000}
MANY = 10_000_000  # of the mask and of Arrow
DELETES = 10_000


def alone(rounds: int = 99, **options: object) -> Step:
    """Return a measure of our system against itself."""
    return Step(rounds, OURS, options)


# They run in this order within a round; what is to be compared stands side by side.
PLAN = {
    "records.index": Step(),
    "records.index_bare": Step(),
    "records.batches": Step(),
    "records.batches_bare": Step(),
    "records.append": Step(2),
    "edits.delete_1e4": alone(total=20_000),
    "edits.delete_1e5": alone(total=100_000),
    "edits.delete_1e6": alone(total=1_000_000),
    "edits.replace": alone(),
    "edits.mask": alone(2),
    **{
        f"{kind}.{how}{suffix}": alone(edited=suffix == "_edited")
        for kind in ("texts", "images")
        for how in ("index", "iterate", "batches")
        for suffix in ("", "_edited")
    },
    "files.merge": alone(),
    "files.cat": alone(),
    "files.compact": alone(),
    "files.cp": alone(),
    "files.arrow": alone(2),
}
QUICK_SCALE = 0.05


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    found = parser(__doc__)
    found.add_argument("--scale", type=float, help=f"times the samples of a whole run; {QUICK_SCALE} with --quick")
    found.add_argument("--quick", action="store_true", help="a part of the samples, one round, ours and upstream")
    options = parsed(found, Extent(3, SYSTEMS, PLAN), Extent(1, ("ours", "upstream"), PLAN))
    options.scale = options.scale or (QUICK_SCALE if options.quick else 1)
    return options


class RecordsRun(Run):
    """All systems on all measures."""

    PLAN = PLAN
    SYSTEMS = SYSTEMS

    def task(self, name: str, measure: str) -> Task:
        """Describe one measurement to its process."""
        kind = "records" if measure == "prepare" else measure.partition(".")[0]
        options = dict(self.PLAN[measure].options) if measure in self.PLAN else {}
        many = measure in {"edits.mask", "files.arrow"}
        whole = options.pop("total", MANY if many else SAMPLES["texts" if kind == "edits" else kind])
        return Task(
            system=name,
            measure=f"records/{measure.removesuffix('_edited').split('_1e')[0]}",
            dataset=str(self.scratch / "built" / name),
            scratch=str(self.scratch),
            later_passes=1 if self.options.quick else 3,
            options=options | {"samples": self.scaled(whole), "deletes": self.scaled(DELETES)},
        )

    def scaled(self, count: int) -> int:
        """Return how many of so many samples there are in this run."""
        return max(200, int(count * self.options.scale))

    def described(self) -> dict[str, object]:
        """Return what the report says of the run, beside the machine."""
        sizes = {f"num_{name}": self.scaled(count) for name, count in SAMPLES.items()}
        return sizes | {"num_many": self.scaled(MANY)} | super().described()


def main() -> None:
    """Run all and write the report."""
    options = arguments()
    described = environment.describe()
    scratch = new_scratch("records")
    try:
        bench = RecordsRun(options, scratch)
        bench.prepare()
        runs = list(bench.rounds())
        described |= bench.described()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    record_report.store(options.output, {"run": described, "systems": bench.systems, "results": runs})


if __name__ == "__main__":
    main()
