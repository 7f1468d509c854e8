"""How fast are ragged and fixed arrays read, batched, built and appended, here and elsewhere?

Ragged images, photos, token rows and fixed images; and builds by several processes. Every measurement runs in a
process of its own; systems take turns within a round. Writes arrays.json, ARRAYS.md and a plot.
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import array_report
import environment
from corpus import new_scratch
from rounds import Extent, Run, Step, parsed, parser, progress
from systems.arrays import SYSTEMS
from task import Result, Task, run
from workloads import GENERATED, SIZES, Workload, decode, generate_jpegs, photo_files, pillow_is_here

BUILDERS = ("ours", "upstream", "processes")
LARGER = 4  # times as many samples in the larger build whose memory is weighed


def built(source: str, n_jobs: int | None, function: str = "from_indexable", times: int = 1) -> Result:
    """Return the options of a build whose samples are made on demand."""
    return {"function": function, "source": source, "n_jobs": n_jobs, "times": times}


# Workload and measure. They run in this order within a round.
PLAN = {
    "images.index_bare": Step(),
    "images.index": Step(),
    "images.iterate_bare": Step(),
    "images.iterate": Step(),
    "images.batches": Step(),
    "images.padded": Step(),
    "images.build": Step(),
    "images.build_unsynced": Step(systems=("ours",)),
    "images.append_1e3": Step(2, options={"base": 1000}),
    "images.append_all": Step(1, options={"base": SIZES["images"]}),
    "images.open": Step(2),
    "images.pickle": Step(1),
    "photos.index": Step(1),
    "photos.batches": Step(1),
    "photos.build": Step(1),
    "photos.build_unsynced": Step(1, ("ours",)),
    "tokens.index_bare": Step(),
    "tokens.index": Step(),
    "tokens.iterate": Step(),
    "tokens.batches": Step(),
    "tokens.padded": Step(),
    "tokens.jagged": Step(),
    "tokens.windows": Step(),
    "tokens.build": Step(),
    "tokens.build_unsynced": Step(systems=("ours",)),
    "tokens.append_1e3": Step(2, options={"base": 1000}),
    "fixed.index_bare": Step(),
    "fixed.index": Step(),
    "fixed.iterate_bare": Step(),
    "fixed.iterate": Step(),
    "fixed.batches": Step(),
    "fixed.build": Step(systems=("ours", "upstream", "npy-append")),
    "fixed.build_unsynced": Step(systems=("ours",)),
    "fixed.build_whole": Step(),
    "fixed.append_1e3": Step(2, options={"base": 1000}),
    "fixed.open": Step(2),
    "fixed.pickle": Step(1),
    "decode.jobs2": Step(systems=BUILDERS, options=built("decode", 2)),
    "decode.jobs2_durable": Step(systems=("ours",), options=built("decode", 2) | {"method": "from_indexable_durable"}),
    "decode.serial": Step(systems=BUILDERS, options=built("decode", None)),
    "trivial.jobs2": Step(systems=("ours", "upstream"), options=built("trivial", 2)),
    "trivial.serial": Step(systems=("ours", "upstream"), options=built("trivial", None)),
    "memory.small": Step(2, ("ours",), built("memory", 2, "peak_memory")),
    "memory.large": Step(2, ("ours",), built("memory", 2, "peak_memory", LARGER)),
}
SOURCES = ("decode", "trivial", "memory")
QUICK_SYSTEMS = ("ours", "upstream", "ram", "memmap", "processes")
QUICK_MEASURES = [m for m in PLAN if not m.startswith("photos") and not m.endswith(("_all", "iterate_bare", "pickle"))]
QUICK_SCALE = 0.1
# What a system is left out of: arrays in RAM are no dataset.
NO_PART = {
    "ram": {measure for measure in PLAN if measure.split(".")[1] in {"build", "open", "pickle"}},
    "processes": {measure for measure in PLAN if measure.split(".")[0] not in SOURCES},
}
# Rounds of what takes seconds to import, or far longer per sample than all others.
FEWER_ROUNDS = {"datasets": 1, "tensordict": 1, "zarr": 1, "h5py": 2, "npy-append": 2}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    found = parser(__doc__)
    found.add_argument("--photos", help="a folder of *.jpg files instead of the archive beside the project")
    found.add_argument("--scale", type=float, help=f"times the samples of a whole run; {QUICK_SCALE} with --quick")
    found.add_argument(
        "--quick",
        action="store_true",
        help="a tenth of the samples, one round, fewer measures, only local peers",
    )
    options = parsed(found, Extent(3, SYSTEMS, PLAN), Extent(1, QUICK_SYSTEMS, QUICK_MEASURES))
    options.scale = options.scale or (QUICK_SCALE if options.quick else 1)
    return options


class ArraysRun(Run):
    """All systems on all workloads."""

    PLAN = PLAN
    SYSTEMS = SYSTEMS

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        super().__init__(options, scratch)
        self.sizes = {name: max(2, int(count * options.scale)) for name, count in SIZES.items()}
        self.photos = photo_files(options.photos) if pillow_is_here() else []
        self.left_out = self.leave_out()
        self.workloads = dict(self.lay_out())

    def leave_out(self) -> str:
        """Leave out what this machine has no photos for, and say so."""
        if not pillow_is_here():
            lacking, reason = {"photos", "decode"}, "no Pillow here"
        elif not self.photos:
            lacking, reason = {"photos"}, "no photos here; `decode` takes generated JPEGs"
        else:
            return "nothing"
        kept = [measure for measure in self.options.measures if measure.split(".")[0] not in lacking]
        self.options.measures = kept
        progress(f"left out: {', '.join(sorted(lacking))}: {reason}")
        return f"{', '.join(sorted(lacking))} ({reason})"

    def lay_out(self) -> Iterator[tuple[str, Workload]]:
        """Generate, or decode, what the measures need."""
        wanted = dict.fromkeys(measure.split(".")[0] for measure in self.options.measures)
        if "decode" in wanted and not self.photos:
            self.photos = generate_jpegs(self.scratch / "jpegs")
        for name in wanted:
            if name in GENERATED:
                yield name, Workload.store(self.scratch / "corpus" / name, GENERATED[name](self.sizes[name]))
            elif name == "photos":
                decoded = [decode(file.read_bytes()) for file in self.photos[: self.sizes[name]]]
                yield name, Workload.store(self.scratch / "corpus" / name, decoded)
            progress(f"laid out {name}")

    def task(self, name: str, measure: str) -> Task:
        """Describe one measurement to its process."""
        workload, _, function = measure.rpartition(".")
        options = self.PLAN[measure].options if measure in self.PLAN else {}
        if "source" in options:
            source = options["source"]
            arguments = {"files": list(map(str, self.photos))} if source == "decode" else {}
            options = options | {"length": self.sizes[source] * options["times"], "arguments": arguments}
        return Task(
            system=name,
            measure=f"arrays/{options.get('function', function.split('_1e')[0].removesuffix('_all'))}",
            corpus=str(self.workloads[workload].path) if workload in self.workloads else "",
            dataset=str(self.scratch / "built" / name / workload),
            scratch=str(self.scratch),
            later_passes=1 if self.options.quick else 3,
            options=options,
        )

    def prepare_system(self, name: str, python: str) -> Result:
        """Build one system's datasets; what it cannot keep, it takes no part in."""
        found = super().prepare_system(name, python)
        sizes = {}
        for workload in self.workloads if "error" not in found else ():
            if not self.takes_part(name, workload):
                continue
            result = run(python, self.task(name, f"{workload}.prepare"))
            lacking = result.get("lacks", ("",))
            if "size_bytes" in result:
                sizes[workload] = {key: result[key] for key in ("size_bytes", "payload_bytes")}
            else:
                progress(f"prepare {name}: no {workload}: {result.get('error', 'not a kind that it keeps')}")
            found_out = [m for m in PLAN if m.startswith(tuple(f"{workload}.{operation}" for operation in lacking))]
            self.unsupported |= {(name, measure) for measure in found_out}
        return found | {"sizes": sizes}

    def takes_part(self, name: str, workload: str) -> bool:
        """Tell whether a system has any measure of a workload to run."""
        return any(self.wanted(0, m, name) for m in self.options.measures if m.startswith(f"{workload}."))

    def wanted(self, number: int, measure: str, name: str) -> bool:
        """Tell whether a system takes part in a measure in this round."""
        return (
            super().wanted(number, measure, name)
            and number < FEWER_ROUNDS.get(name, self.options.rounds)
            and measure not in NO_PART.get(name, ())
        )

    def described(self) -> Result:
        """Return what the report says of the run, beside the machine."""
        sizes = {f"num_{name}": count for name, count in self.sizes.items()}
        return sizes | {"photos_found": len(self.photos), "left_out": self.left_out} | super().described()


def main() -> None:
    """Run all and write the report."""
    options = arguments()
    described = environment.describe()
    scratch = new_scratch("arrays")
    try:
        bench = ArraysRun(options, scratch)
        bench.prepare()
        runs = list(bench.rounds())
        described |= bench.described()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    array_report.store(options.output, {"run": described, "systems": bench.systems, "results": runs})


if __name__ == "__main__":
    main()
