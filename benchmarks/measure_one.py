"""Measure one thing of one system in this process and print it: started by the bench_*.py scripts."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import array_measures
import parallel_builds
import record_measures
from alternation import alternate
from measures import READS, WRITES
from scaling import scale
from task import MARKER, Task
from timing import UnsupportedError

ARRAYS = array_measures.MEASURES | parallel_builds.MEASURES
MEASURES = READS | WRITES | {"alternate": alternate, "scale": scale}
MEASURES |= {f"arrays/{name}": measure for name, measure in ARRAYS.items()}
MEASURES |= {f"records/{name}": measure for name, measure in record_measures.MEASURES.items()}


def main() -> None:
    """Run the task that the command line holds."""
    task = Task(**json.loads(sys.argv[1]))
    try:
        result = MEASURES[task.measure](task)
    except UnsupportedError as error:
        result = {"unsupported": str(error)}
    print(f"\n{MARKER}{json.dumps(result)}", flush=True)


if __name__ == "__main__":
    main()
