"""What is measured: functions that take a task, use its system's adapter, and return seconds and what was read."""

from collections.abc import Callable

from task import Result, Task

from measures import alternation, cold, epochs, feeding, lifecycle, parallel, reads, scaling

Measures = dict[str, Callable[[Task], Result]]
# The operation that an adapter must have, where it is not called like the measure.
NEEDS = {
    "demo": "iterate", "batches_bare": "batches", "jagged_bytes": "jagged", "cold_iterate": "iterate",
    "cold_batches": "batches", "build_whole": "build", "open": "index", "pickle": "picklable", "tiny_build": "build",
    "tiny_open": "index", "tiny_index": "index", "tiny_append": "append", "alternate": "extend",
    "peak_memory": "from_indexable", "epoch": "loader", "epoch_bare": "loader", "feed": "epoch",
} | dict.fromkeys(cold.MEASURES, "loader")  # fmt: skip


def measures_of(kind: str) -> Measures:
    """Return what can be measured of a kind of data; without one, of our system alone."""
    if kind:
        modules = (reads, lifecycle, scaling, alternation, parallel, epochs, cold, feeding)
    else:
        from measures import copies, edits, loading, training  # noqa: PLC0415 - they need ours, which not all environments have

        modules = (edits, copies, loading, training)
    return {name: measure for module in modules for name, measure in module.MEASURES.items()}
