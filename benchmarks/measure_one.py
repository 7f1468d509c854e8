"""Measure one thing of one system in this process and print it: started by the bench_*.py scripts."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from alternation import alternate
from measures import READS, WRITES
from scaling import scale
from task import MARKER, Task
from timing import UnsupportedError

MEASURES = READS | WRITES | {"alternate": alternate, "scale": scale}


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
