"""What is measured: tables of samples, and of measures in the order in which they run within a round."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from data import arrays, texts
from systems import SYSTEMS


class Subject(NamedTuple):
    kind: str  # the class of an adapter that keeps them; none where our system is measured without an adapter
    count: int
    generate: Callable[[int], Sequence[Any]] | None = None  # None: made, or decoded, when they are needed


class Measure(NamedTuple):
    name: str  # the subject and what is done with it, as in ONLY= and in the templates
    function: str  # in `measures/`
    systems: Collection[str] = SYSTEMS  # as far as they have the operation
    rounds: int = 99  # at most
    options: dict[str, Any] = {}

    @property
    def subject(self) -> str:
        return self.name.partition(".")[0]


class Section(NamedTuple):
    """Measures whose rounds belong together."""

    report: str
    rounds: int
    measures: Sequence[Measure]
    fewer: dict[str, int] = {}  # rounds of systems that start slowly, or take far longer than all others


def each(subject: str, functions: str, *common: Any, **options: object) -> tuple[Measure, ...]:
    """Return measures of one subject that are called like their functions."""
    return tuple(Measure(f"{subject}.{name}", name, *common, options=options) for name in functions.split())


OURS = ("ours",)
ONE_ROUND = ("ours-numpy", "ours-grain-samples", "ram", "files", "memmap", "datasets", "arrayrecord", "litdata", "mds",
             "webdataset", "spdl")  # fmt: skip
SCALED = ("ours", "upstream", "datasets-arrow", "lmdb", "bagz", "arrayrecord", "lance")

SUBJECTS = {
    "texts": Subject("Texts", 100_000, texts.generate),
    "zstd": Subject("Zstd", 25_000, texts.generate),
    "zstd_dictionary": Subject("ZstdDictionary", 25_000, texts.generate),
    "tiny_1e3": Subject("Texts", 1000),
    "tiny_1e4": Subject("Texts", 10_000),
    "tiny_1e6": Subject("Texts", 1_000_000),
    "tiny_1e8": Subject("Texts", 100_000_000),
    "images": Subject("Ragged", 20_000, arrays.images),
    "photos": Subject("Ragged", 100),
    "tokens": Subject("Ragged", 50_000, arrays.tokens),
    "fixed": Subject("Fixed", 60_000, arrays.fixed),
    "decode": Subject("Ragged", 800),
    "trivial": Subject("Ragged", 1_000_000),
    "memory": Subject("Ragged", 1000),
    "records": Subject("Records", 20_000, arrays.records),
    "edits": Subject("", 100_000),
    "copies": Subject("", 200_000),
    "reviews": Subject("Reviews", 100_000, texts.generate),
    "small": Subject("", 60_000),
    "pictures": Subject("", 2560),
    "frames": Subject("", 6400),
    "documents": Subject("", 100_000, texts.generate),
    "order": Subject("", 1_000_000_000),
    "numbers": Subject("", 100_000_000),
    "names": Subject("", 10_000_000),
    "cold": Subject("Fixed", 2_000_000),
    "train_images": Subject("Images", 60_000, arrays.fixed),
    "train_texts": Subject("Labelled", 25_000, texts.generate),
    "train_frames": Subject("Frames", 1500, arrays.speech),
    "train_tokens": Subject("Windows", 20_000, arrays.rows),
    "train_photos": Subject("Photos", 400),
    "classifier": Subject("", 25_000, texts.generate),
}

TEXTS = (
    *each("texts", "iterate index batches"),
    Measure("texts.jagged", "jagged_bytes"),
    Measure("texts.demo", "demo", ("ours", "upstream", "files")),
    *each("texts", "build build_unsynced"),
    Measure("texts.append_1e3", "append", options={"base": 1000}),
    Measure("texts.append_1e5", "append", options={"base": 100_000}),
    *each("texts", "pickle", SYSTEMS, 1),
    *each("texts", "open alternate cold_iterate"),
    Measure("texts.cold_batches", "cold_batches", options={"samples": 20_224}),  # 79 batches
    *each("zstd", "iterate index batches"),
    *each("zstd_dictionary", "iterate index batches"),
)

SCALING = tuple(
    Measure(f"{size}.{step}", f"tiny_{step}", systems)
    # At 10^3 only our own append is of interest; beyond 10^6 the peers would need more memory or minutes.
    for size, systems in (("tiny_1e3", OURS), ("tiny_1e4", SCALED), ("tiny_1e6", SCALED), ("tiny_1e8", OURS))
    for step in ("build", "open", "index", "append")  # one after the other, on what the first has built
)

ARRAYS = (
    *each("images", "index_bare index iterate_bare iterate batches padded build build_unsynced"),
    Measure("images.append_1e3", "append", options={"base": 1000}),
    Measure("images.append_all", "append", rounds=1),
    *each("images", "open"),
    *each("images", "pickle", SYSTEMS, 1),
    *each("photos", "index batches build build_unsynced", SYSTEMS, 1),
    *each("tokens", "index_bare index iterate batches padded jagged windows build build_unsynced"),
    Measure("tokens.append_1e3", "append", options={"base": 1000}),
    *each("fixed", "index_bare index iterate_bare iterate"),
    Measure("fixed.batches", "batches_bare"),  # a batch is one array of its own, so every byte was read to make it
    Measure("fixed.build", "build", ("ours", "upstream", "npy-append")),
    *each("fixed", "build_unsynced build_whole open"),
    Measure("fixed.append_1e3", "append", options={"base": 1000}),
    *each("fixed", "pickle", SYSTEMS, 1),
    Measure("decode.jobs2", "from_indexable", options={"n_jobs": 2}),
    Measure("decode.jobs2_durable", "from_indexable", OURS, options={"n_jobs": 2, "durable": True}),
    Measure("decode.serial", "from_indexable", options={"n_jobs": None}),
    Measure("trivial.jobs2", "from_indexable", ("ours", "upstream"), options={"n_jobs": 2}),
    Measure("trivial.serial", "from_indexable", ("ours", "upstream"), options={"n_jobs": None}),
    Measure("memory.small", "peak_memory", OURS, options={"n_jobs": 2}),
    Measure("memory.large", "peak_memory", OURS, options={"n_jobs": 2, "times": 4}),
)

RECORDS = (
    *each("records", "index index_bare batches batches_bare"),
    *each("records", "append", SYSTEMS, 2, base=1000),
    Measure("edits.delete_1e4", "delete", OURS, options={"count": 20_000}),
    Measure("edits.delete_1e5", "delete", OURS, options={"count": 100_000}),
    Measure("edits.delete_1e6", "delete", OURS, options={"count": 1_000_000}),
    *each("edits", "replace", OURS),
    *each("edits", "mask", OURS, 2, count=10_000_000),
    *each("edits", "texts_index texts_index_edited texts_iterate texts_iterate_edited", OURS),
    *each("edits", "texts_batches texts_batches_edited", OURS),
    *each("edits", "images_index images_index_edited images_iterate images_iterate_edited", OURS, count=20_000),
    *each("edits", "images_batches images_batches_edited", OURS, count=20_000),
    *each("copies", "merge cat compact cp", OURS),
    *each("copies", "arrow", OURS, 2, count=10_000_000),
)

LOADING = (
    Measure("fixed.epoch", "epoch_bare", ("ours", "ram", "memmap")),
    Measure("reviews.epoch", "epoch", ("ours", "ours-dataloader", "upstream")),
    *each("small", "transform look_ahead", OURS, shape=(28, 28), batch_size=256, batches=200, num_threads=None),
    *each("pictures", "transform", OURS, shape=(224, 224, 3), batch_size=640, batches=20, num_threads=2),
    *each("pictures", "recycled", OURS, shape=(224, 224, 3), batch_size=256),
    *each("frames", "buckets", OURS, batch_size=128),
    *each("documents", "pack gather", OURS),
    *each("order", "slices", OURS),
    *each("numbers", "first_batch resume", OURS),
    *each("names", "share", OURS, 1),
)

COLD = tuple(
    Measure(f"cold.{name}", f"cold_{name}", systems)
    for systems, names in (
        (("ours", "upstream"), ("draws", "epoch")),
        (OURS, ("fio", "work", "work_alone", "tenth", "tenth_blocks", "epoch_blocks", "advised")),
    )
    for name in names
)

FRAMEWORKS = (
    *(Measure(f"train_{name}.feed", "feed") for name in ("images", "texts", "frames", "tokens", "photos")),
    Measure("classifier.example", "example", OURS),
)

SECTIONS = {
    "texts": Section("RESULTS.md", 3, TEXTS, {"mds": 2, "litdata": 2, "files": 2, "bagz-default": 2}),
    "scaling": Section("RESULTS.md", 2, SCALING),
    "arrays": Section("ARRAYS.md", 2, ARRAYS, {"datasets": 1, "tensordict": 1, "zarr": 1}),
    "records": Section("RECORDS.md", 3, RECORDS),
    "loading": Section("LOADING.md", 3, LOADING),
    "cold": Section("LOADING.md", 2, COLD),
    "frameworks": Section("FRAMEWORKS.md", 2, FRAMEWORKS, dict.fromkeys(ONE_ROUND, 1)),
}


def choose(words: Collection[str]) -> tuple[dict[str, Section], list[str]]:
    """Return what words name: sections with some of their measures, and systems; all of them, where none is named.

    Raises:
        ValueError: if a word is not the name of a section, subject, measure or system.
    """
    wanted = set(words) - set(SYSTEMS)
    measures = {measure.name for section in SECTIONS.values() for measure in section.measures}
    if unknown := sorted(wanted - {*SECTIONS, *SUBJECTS, *measures}):
        known = "; ".join(", ".join(names) for names in (SECTIONS, SUBJECTS, SYSTEMS))
        raise ValueError(f"{unknown[0]!r} is unknown (expected a section, subject or system: {known}; or a measure)")
    chosen = {}
    for name, section in SECTIONS.items():
        found = [m for m in section.measures if not wanted or wanted & {name, m.subject, m.name}]
        if found:
            chosen[name] = section._replace(measures=found)
    return chosen, [system for system in SYSTEMS if system in words] or list(SYSTEMS)
