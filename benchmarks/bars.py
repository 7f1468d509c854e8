"""The bars that this project set itself, held against what was measured: reported, never asserted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from figures import Figures, divide

SMALL, LARGE = 10_000, 100_000_000
FEW = 1000
KIB, MB = 1024, 1_000_000


@dataclass(frozen=True)
class Bar:
    """One line of the table: a measured number and the limit it is held against."""

    what: str
    measured: Callable[..., float | None]  # of all figures that the table has
    limit: float
    sign: str = ">="  # or "<="
    unit: str = "x"
    aim: float | None = None

    def passed(self, value: float) -> bool:
        """Tell whether a value keeps the bar."""
        return value >= self.limit if self.sign == ">=" else value <= self.limit


def against(measure: str, system: str, of: str | None = None) -> Callable[..., float | None]:
    """Measure how many times our time another system takes."""
    return lambda figures, *_: figures.ratio(measure, system, of=of)


def fastest(measure: str, *systems: str) -> Callable[[Figures, Figures], float | None]:
    """Measure how many times our time the fastest of several ways to use a system takes."""

    def ratio(strings: Figures, _: Figures) -> float | None:
        ratios = [found for system in systems if (found := strings.ratio(measure, system)) is not None]
        return min(ratios, default=None)

    return ratio


def grown(measure: str, small: int) -> Callable[[Figures, Figures], float | None]:
    """Measure how many times the time at a small size the same thing takes at 10^8 samples."""

    def ratio(_: Figures, scaling: Figures) -> float | None:
        sizes = (scaling.median(measure, "ours", num_samples=size) for size in (LARGE, small))
        return divide(*sizes)

    return ratio


def alternation(strings: Figures, _: Figures) -> float | None:
    """Measure the slowest point of two processes appending in turn against the fastest."""
    points = [result["seconds"] for result in strings.select("alternate", "ours")]
    medians = [sorted(column)[len(column) // 2] for column in zip(*points, strict=True)]
    return divide(max(medians), min(medians)) if medians else None


def on_disk(measure: str) -> Callable[[Figures, Figures], float | None]:
    """Measure how many times what upstream takes on disk we take."""
    return lambda strings, _: divide(*(strings.value(measure, name, "size_bytes") for name in ("ours", "upstream")))


def compressed(kind: str, stored: str) -> tuple[Bar, ...]:
    """Return the bars of one way to compress texts."""
    return (
        Bar(f"{stored}: `for t in texts` vs upstream", against(f"{kind}.iterate", "upstream"), 2),
        Bar(f"{stored}: `texts[i]`, random, vs upstream", against(f"{kind}.random", "upstream"), 2),
        Bar(
            f"{stored}: `texts.take(256 random)` vs upstream's `texts[[...]]`",
            against(f"{kind}.batches", "upstream"),
            2,
        ),
        Bar(f"{stored}: size on disk vs upstream", on_disk(f"{kind}.size"), 1, "<="),
    )


BARS = (
    Bar("`for t in texts` vs upstream", against("iterate", "upstream"), 10, aim=15),
    Bar("`for t in texts` vs `bytes.decode()` over a list in RAM", against("iterate", "ram"), 1),
    Bar("loop with tqdm, files vs dataset", against("demo", "files"), 40),
    Bar("`texts[i]`, random, vs upstream", against("random", "upstream"), 4),
    Bar("`texts[i]`, random, vs LMDB", against("random", "lmdb"), 1),
    Bar("`texts[i]`, random, vs bagz", against("random", "bagz"), 1),
    Bar("`texts.take(256 random)` vs upstream's `texts[[...]]`", against("batches", "upstream"), 5, aim=7),
    Bar(
        "`texts.take(256 random)` vs `datasets`, its faster way",
        fastest("batches", "datasets", "datasets-arrow"),
        6,
    ),
    Bar("`texts.take(256 random)` vs bagz with its default options", against("batches", "bagz-default"), 20),
    Bar("`texts.take(256 random)` vs bagz as we tuned it", against("batches", "bagz"), 20),
    Bar("`texts.take(256 random)` vs ArrayRecord's batch read", against("batches", "arrayrecord"), 20),
    Bar("`texts.take_jagged(256 random)` vs upstream", against("jagged", "upstream"), 10),
    Bar("one `append` at 10^3 samples vs upstream", against("append_1e3", "upstream"), 100, aim=150),
    Bar("one `append` at 10^5 samples vs upstream", against("append_1e5", "upstream"), 100, aim=150),
    Bar('one `append`, 10^8 samples vs 10^3 ("the same": read as)', grown("append", FEW), 1.5, "<="),
    Bar("`from_generator`, no final sync, vs upstream", against("build", "upstream", of="build_unsynced"), 4),
    Bar(
        "`from_generator`, durable, vs `pwrite` + `fdatasync` of the same bytes",
        lambda strings, _: divide(strings.median("build", "ours"), strings.median("build", "pwrite")),
        1.3,
        "<=",
    ),
    Bar("open, 10^8 samples vs 10^4", grown("open", SMALL), 2, "<="),
    Bar(
        "private memory of an open dataset of 10^8 samples",
        lambda _, scaling: divide(scaling.value("open", "ours", "private_bytes", num_samples=LARGE), MB),
        1,
        "<=",
        " MB",
    ),
    Bar(
        'two processes appending in turn, slowest un-synced tail vs fastest ("flat": read as)',
        alternation,
        1.5,
        "<=",
    ),
    Bar(
        "`pickle.dumps(texts)`",
        lambda strings, _: divide(strings.value("pickle", "ours", "pickle_bytes"), KIB),
        1,
        "<=",
        " KiB",
    ),
    *compressed("zstd", "compressed"),
    *compressed("zstd_dictionary", "compressed with a dictionary"),
)


def table(bars: Iterable[Bar], *figures: Figures) -> list[str]:
    """Return bars as lines of a Markdown table."""
    lines = ["| what | bar | measured | |", "|---|---|---|---|"]
    for bar in bars:
        value = bar.measured(*figures)
        wanted = f"{'at least' if bar.sign == '>=' else 'at most'} {bar.limit:g}{bar.unit}"
        wanted += f", aim {bar.aim:g}{bar.unit}" if bar.aim else ""
        found = "not measured" if value is None else f"{value:.3g}{bar.unit}"
        verdict = "" if value is None else "pass" if bar.passed(value) else "**short**"
        lines.append(f"| {bar.what} | {wanted} | {found} | {verdict} |")
    return lines
