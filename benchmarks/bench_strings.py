"""How fast are 100,000 reviews read, built and appended, here and elsewhere?

Every measurement runs in a process of its own; systems take turns within a round, so that a drift of
the machine hits all of them. Writes results.json, RESULTS.md and a plot.
"""

import argparse
import shutil
from pathlib import Path

import environment
import report
from corpus import Corpus, new_scratch
from rounds import Extent, Run, Step, parsed, parser, progress
from systems import SYSTEMS
from task import Result, Task, run

# How texts are compressed, by what the names of the measures of them begin with.
COMPRESSED: dict[str, Result] = {"zstd": {"dictionary_size": None}, "zstd_dictionary": {"dictionary_size": 112_640}}
COMPRESSED_SAMPLES = 25_000
# They run in this order within a round.
PLAN = {
    "iterate": Step(),
    "random": Step(),
    "batches": Step(),
    "jagged": Step(),
    "demo": Step(systems=("ours", "upstream", "files")),
    "build": Step(),
    "build_unsynced": Step(systems=("ours",)),
    "append_1e3": Step(3, ("ours", "upstream", "lmdb", "lance"), {"base": 1000}),
    "append_1e5": Step(3, ("ours", "upstream", "lmdb", "lance"), {"base": 100_000}),
    "open": Step(3),
    "pickle": Step(1),
    "alternate": Step(3, ("ours",)),
    "cold_iterate": Step(3),
    "cold_batches": Step(3, options={"samples": 20_224}),  # 79 batches
    **{
        f"{kind}.{measure}": Step(rounds, ("ours", "upstream"), options)
        for kind, options in COMPRESSED.items()
        for measure, rounds in (("iterate", 3), ("random", 3), ("batches", 3), ("size", 1))
    },
}
QUICK_SAMPLES = 25_000
QUICK_MEASURES = [measure for measure in PLAN if "." not in measure]
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
    found = parser(__doc__)
    found.add_argument("--data", help="a folder of *.txt files, or 'generated'")
    found.add_argument("--samples", type=int, help="use the first so many texts; 25000 with --quick")
    found.add_argument(
        "--quick",
        action="store_true",
        help="a quarter of the texts, fewer rounds and passes, none cold or compressed",
    )
    options = parsed(found, Extent(5, SYSTEMS, PLAN), Extent(2, SYSTEMS, QUICK_MEASURES))
    options.samples = options.samples or (QUICK_SAMPLES if options.quick else None)
    return options


class StringsRun(Run):
    """All systems on one corpus."""

    PLAN = PLAN
    SYSTEMS = SYSTEMS

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        super().__init__(options, scratch)
        self.corpus = Corpus.find(options.data, options.samples, scratch / "corpus")
        self.compressed = self.corpus.first(COMPRESSED_SAMPLES, scratch / "corpus-compressed")

    def task(self, name: str, measure: str) -> Task:
        """Describe one measurement to its process."""
        kind, _, function = measure.rpartition(".")
        return Task(
            system=name,
            measure=function.split("_1e", maxsplit=1)[0],
            corpus=str((self.compressed if kind else self.corpus).path),
            dataset=str(self.scratch / "built" / (kind or "plain") / name),
            scratch=str(self.scratch),
            later_passes=1 if self.options.quick else 3,
            options=PLAN[measure].options if measure in PLAN else COMPRESSED.get(kind, {}),
        )

    def prepare_system(self, name: str, python: str) -> Result:
        """Build one system's datasets; where it cannot compress, it takes no part in that."""
        found = super().prepare_system(name, python)
        for kind in COMPRESSED if "error" not in found else ():
            measures = [m for m in self.options.measures if m.startswith(f"{kind}.") and self.wanted(0, m, name)]
            result = run(python, self.task(name, f"{kind}.compress")) if measures else {}
            if "error" in result:
                progress(f"prepare {name}: no {kind}: {result['error']}")
                self.unsupported |= {(name, measure) for measure in measures}
        return found

    def wanted(self, number: int, measure: str, name: str) -> bool:
        """Tell whether a system takes part in a measure in this round."""
        most = 1 if (name, measure) in ONCE else FEWER_ROUNDS.get(name, self.options.rounds)
        return (
            super().wanted(number, measure, name)
            and number < most
            and measure not in NO_PART.get(name, ())
            and not (self.options.quick and self.too_long(number, measure, name))
        )

    @staticmethod
    def too_long(number: int, measure: str, name: str) -> bool:
        """Tell what a quick run does without: all that is cold, and 100,000 files more than once."""
        return measure in COLD or (name == "files" and (number > 0 or measure not in {"iterate", "demo"}))

    def described(self) -> Result:
        """Return what the report says of the run, beside the machine."""
        offsets = self.corpus.offsets
        data = {"data": self.corpus.label, "num_samples": len(offsets) - 1, "payload_bytes": int(offsets[-1])}
        return data | super().described()


def main() -> None:
    """Run all and write the report."""
    options = arguments()
    described = environment.describe()
    scratch = new_scratch("strings")
    try:
        bench = StringsRun(options, scratch)
        bench.prepare()
        runs = list(bench.rounds())
        described |= bench.described()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report.update(options.output, "strings", {"run": described, "systems": bench.systems, "results": runs})


if __name__ == "__main__":
    main()
