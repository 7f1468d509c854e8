"""The bars that this project set itself for arrays."""

from collections.abc import Callable

from bars import Bar, against
from figures import Figures, divide


def ours_against(measure: str, system: str, of: str | None = None) -> Callable[[Figures], float | None]:
    """Measure how many times another system's time ours takes, in `of` where their measures differ."""
    return lambda figures: divide(figures.median(measure, "ours"), figures.median(of or measure, system))


def speed_up(measure: str, of: str, system: str = "ours") -> Callable[[Figures], float | None]:
    """Measure how many times our rate of `of` our rate of another measure is, or another system's."""
    return lambda figures: divide(figures.median(of, system), figures.median(measure, "ours"))


def growth(figures: Figures) -> float | None:
    """Measure how many times the memory of a build one of four times as many samples takes."""
    return divide(*(figures.value(f"memory.{size}", "ours", "peak_bytes") for size in ("large", "small")))


BARS = (
    Bar("ragged images, bare `ds[i]`, random, vs upstream", against("images.index_bare", "upstream"), 60),
    Bar(
        "ragged images, bare `ds[i]` vs `list[i]`, which makes no array",
        ours_against("images.index_bare", "ram"),
        2.5,
        "<=",
    ),
    Bar(
        "ragged images, bare `ds[i]` vs bare `ndarray[i]` in RAM, which makes a view as we do",
        ours_against("images.index_bare", "ram", of="fixed.index_bare"),
        2.5,
        "<=",
    ),
    Bar(
        "ragged images, `ds[i]` and every byte read, vs the same of a list in RAM",
        ours_against("images.index", "ram"),
        2.5,
        "<=",
    ),
    Bar(
        "ragged images, `from_generator`, no final sync, vs upstream",
        against("images.build", "upstream", of="images.build_unsynced"),
        3,
    ),
    Bar(
        "token rows, `from_generator`, no final sync, vs upstream",
        against("tokens.build", "upstream", of="tokens.build_unsynced"),
        3,
    ),
    Bar("`ArrayMmap.take(256 random)` vs `ndarray[idx]` in RAM", against("fixed.batches", "ram"), 0.9),
    Bar(
        "token rows, `take_padded(256 random)` vs the NumPy loop in RAM",
        against("tokens.padded", "ram"),
        10,
    ),
    Bar("ragged images, `take_padded(256 random)` vs the same loop", against("images.padded", "ram"), 10),
    Bar("ragged images, one `append` at 10^3 samples vs upstream", against("images.append_1e3", "upstream"), 150),
    Bar("ragged images, one `append` to all of them vs upstream", against("images.append_all", "upstream"), 150),
    Bar(
        "JPEGs decoded by a build with n_jobs=2, rate vs two processes that only decode",
        speed_up("decode.jobs2", "decode.jobs2", "processes"),
        0.85,
    ),
    Bar("trivial function, n_jobs=2, rate vs serial", speed_up("trivial.jobs2", "trivial.serial"), 0.9),
    Bar('peak memory of a parallel build, 4 times the samples vs once ("bounded": read as)', growth, 1.25, "<="),
)
