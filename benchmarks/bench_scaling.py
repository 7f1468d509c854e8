"""What do opening, reading and appending cost at 10^3 to 10^8 tiny samples?

Each step runs in a process of its own. Writes results.json, RESULTS.md and a plot.
"""

import argparse
import shutil
import sys
from pathlib import Path

import environment
import report
from corpus import new_scratch
from rounds import choose, minutes, progress, shown
from systems import SYSTEMS
from task import HERE, Result, Task, find_pythons, run

SIZES = "1000,10000,1000000,100000000"
DEFAULT_SYSTEMS = "ours,upstream,datasets-arrow,lmdb,bagz,arrayrecord,lance"
# At 10^3 only our own append is of interest; beyond 10^6 the peers would need more memory or minutes.
PEERS_SIZES = range(10_000, 1_000_001)
STEPS = ("build", "open", "random", "append")
REPEATS = {"build": 1, "open": 3, "random": 2, "append": 1}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES, help="comma-separated; multiples of 100, above 10^6 of 10^6")
    parser.add_argument("--systems", default=DEFAULT_SYSTEMS, help="comma-separated")
    parser.add_argument("--python", action="append", default=[], metavar="ENVIRONMENT=PATH", help="an interpreter")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the results; benchmarks by default")
    options = parser.parse_args()
    options.systems = choose(parser, options.systems, SYSTEMS)
    options.sizes = [int(size) for size in options.sizes.split(",")]
    return options


def measure(python: str, name: str, num_samples: int, scratch: Path) -> list[Result]:
    """Measure one system at one size, step by step."""
    results = []
    for step in STEPS:  # the first builds the dataset, the last removes it
        for _ in range(REPEATS[step]):
            task = Task(name, "scale", scratch=str(scratch), options={"num_samples": num_samples, "step": step})
            result = run(python, task)
            progress(f"{num_samples} samples, {step} {name}: {shown(result)}")
            results.append({"system": name, "measure": step, "num_samples": num_samples} | result)
            if "error" in result:
                return results
    return results


def main() -> None:
    """Run all sizes and write the report."""
    options = arguments()
    described = environment.describe()
    lookup = find_pythons([f"bench={sys.executable}", *options.python])
    scratch = new_scratch("scaling")
    results = []
    try:
        for num_samples in options.sizes:
            for name in options.systems:
                python = lookup(SYSTEMS[name][1])
                if python and (name == "ours" or num_samples in PEERS_SIZES):
                    results += measure(python, name, num_samples, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    described["minutes"] = minutes()
    report.update(options.output, "scaling", {"run": described, "results": results})


if __name__ == "__main__":
    main()
