"""The plots. Drawn where matplotlib is installed, which `make bench` sees to."""

from importlib.util import find_spec
from pathlib import Path

from figures import Figures

PANELS = (
    ("iterate", "for t in texts"),
    ("random", "texts[i], random"),
    ("batches", "batches of 256, random"),
)
ARRAY_PANELS = (
    ("images.index_bare", "ragged images: ds[i]"),
    ("tokens.batches", "token rows: take 256, every byte read"),
    ("fixed.batches", "28 x 28 images: take 256"),
)
STEPS = (
    ("open", "open + 1 sample, s"),
    ("random", "random [i], s per sample"),
    ("append", "one append, s"),
)
OURS, OTHERS = "#0b6e4f", "#b0b7bf"


def draw(folder: Path, strings: Figures, scaling: Figures) -> list[str]:
    """Draw what was measured of texts; return the names of the files written."""
    written = []
    if strings.results and _ready():
        written.append(_bars(folder / "results.svg", strings, PANELS))
    if scaling.results and _ready():
        written.append(_lines(folder / "scaling.svg", scaling))
    return written


def draw_arrays(folder: Path, arrays: Figures) -> list[str]:
    """Draw what was measured of arrays; return the names of the files written."""
    return [_bars(folder / "arrays.svg", arrays, ARRAY_PANELS)] if arrays.results and _ready() else []


def _ready() -> bool:
    """Set matplotlib up, if it is there."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl  # noqa: PLC0415 - optional

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "mmap_ninja"
    mpl.rcParams["svg.fonttype"] = "none"  # text as text: a tenth of the size
    return True


def _bars(path: Path, figures: Figures, panels: tuple[tuple[str, str], ...]) -> str:
    """Draw the time per sample of every system, fastest first, one panel per measure."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - optional

    canvas, axes = plt.subplots(1, len(panels), figsize=(14, 4.6), layout="constrained")
    names = list(figures.section["systems"])
    for axis, (measure, title) in zip(axes, panels, strict=True):
        found = [(median, name) for name in names if (median := figures.median(measure, name))]
        found.sort(reverse=True)
        ours = figures.median(measure, "ours")
        values = [median * 1e6 for median, _ in found]
        labels = [name for _, name in found]
        drawn = axis.barh(labels, values, color=[OURS if name == "ours" else OTHERS for name in labels])
        notes = [f"{v:.2f} µs" + (f"  ({v / ours / 1e6:.1f}x)" if ours else "") for v in values]
        axis.bar_label(drawn, notes, padding=3, fontsize=8)
        axis.set_xscale("log")
        axis.set_xlim(min(values, default=1) / 2, max(values, default=1) * 12)
        axis.set_title(title)
        axis.set_xlabel("µs per sample, warm, log scale")
        axis.spines[["top", "right"]].set_visible(False)
    canvas.savefig(path, metadata={"Date": None})
    plt.close(canvas)
    return path.name


def _lines(path: Path, figures: Figures) -> str:
    """Draw open, random access and append against the number of samples."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - optional

    canvas, axes = plt.subplots(1, len(STEPS), figsize=(14, 4), layout="constrained")
    systems = dict.fromkeys(result["system"] for result in figures.results)
    for axis, (step, title) in zip(axes, STEPS, strict=True):
        for position, system in enumerate(systems):
            sizes = sorted({r["num_samples"] for r in figures.select(step, system) if "later" in r})
            values = [figures.median(step, system, num_samples=size) for size in sizes]
            style = {"color": f"C{position}", "linewidth": 1}
            if system == "ours":
                style = {"color": OURS, "linewidth": 2.5}
            if sizes:
                axis.plot(sizes, values, marker="o", label=system, **style)
        axis.set(xscale="log", yscale="log", title=title, xlabel="samples")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(fontsize=8)
    canvas.savefig(path, metadata={"Date": None})
    plt.close(canvas)
    return path.name
