"""Measures one thing of one system in this process and prints it; started by `task.run`."""

import json
import sys
from importlib.metadata import version
from platform import python_version

from measures import NEEDS, measures_of
from measures.lifecycle import prepare
from systems import SYSTEMS
from task import MARKER, Result, Task


def described(task: Task) -> Result:
    """Prepare what the reads need, and tell in which measures the system takes part."""
    distribution = SYSTEMS[task.system].distribution
    about = {"version": version(distribution) if distribution else f"Python {python_version()}"}
    names = list(measures_of(task.kind))
    if task.kind:
        names = [
            name for name in names if hasattr(task.store, NEEDS.get(name, name)) and name not in task.store.LEFT_OUT
        ]
        about |= prepare(task)
    return about | {"measures": names}


def done(task: Task) -> Result:
    return described(task) if task.function == "prepare" else measures_of(task.kind)[task.function](task)


if __name__ == "__main__":
    print(f"\n{MARKER}{json.dumps(done(Task(**json.loads(sys.argv[1]))))}", flush=True)
