"""States: what a loader needs to go on where another one was."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mmap_ninja.loading.course import Place
from mmap_ninja.loading.orders import MOST, SEEDS, number

State = dict[str, Any]

VERSION: Final = 1

_FIELDS: Final = ("version", "fingerprint", "seed", "epoch", "position", "batch_size", "world_size")


class Told(NamedTuple):
    """What a state tells."""

    place: Place
    seed: int
    fingerprint: Any


def told_by(state: Mapping[str, Any]) -> Told:
    """What a state tells, which may be of another dataset.

    Raises:
        TypeError: if a number is none.
        ValueError: if it is no state of this version, or a number is out of range.
    """
    if not isinstance(state, Mapping) or state.get("version") != VERSION or not all(name in state for name in _FIELDS):
        raise ValueError(f"state: expected one of version {VERSION} with {_FIELDS}, got {state!r:.200}")
    numbers = {"epoch": (0, SEEDS), "position": (0, MOST), "seed": (0, SEEDS), "world_size": (1, MOST)}
    if state["batch_size"] is not None:  # of a plan by elements it is
        numbers["batch_size"] = (1, MOST)
    told = {name: number(state[name], f"state: {name}", *bounds) for name, bounds in numbers.items()}
    return Told(Place(told["epoch"], told["position"]), told["seed"], state["fingerprint"])


def check_fingerprint(found: Any, own: dict[str, Any], *, strict: bool) -> None:
    """Raise ValueError if a state is of another plan, or of another dataset.

    Args:
        found: The state's fingerprint.
        own: That of the loader.
        strict: Whether another dataset of as many samples is refused.
    """
    types = {name: type(value) for name, value in own.items()}
    if not isinstance(found, Mapping) or {name: type(value) for name, value in found.items()} != types:
        raise ValueError(f"state: expected a fingerprint like {own}, got {found!r:.200}")
    if found == own or (not strict and {**found, "dataset": own["dataset"]} == own):
        return
    remedy = "load it with the same dataset and plan"
    if found["samples"] < own["samples"] and found["plan"] != own["plan"]:
        remedy = f"if the dataset has grown, use dataset.select(slice(0, {found['samples']}))"
        if found["dataset"].startswith("concat("):
            remedy = "if its datasets have grown, join dataset.select(slice(0, n)) of each, with the n of the state"
    elif found["plan"] == own["plan"] and found["samples"] == own["samples"]:
        remedy = "pass strict=False if the dataset was built again from the same samples"
    raise ValueError(f"state: is of {dict(found)}, and this loader of {own}; {remedy}")
