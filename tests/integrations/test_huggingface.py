"""Hugging Face `datasets` itself: its `Dataset` over our files, what it has in our files, and its streams."""

import decimal
import io
import itertools
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

import mmap_ninja as mn
from support.memory import LARGE, is_mapped

datasets = pytest.importorskip("datasets")

from datasets.distributed import split_dataset_by_node  # noqa: E402

from mmap_ninja.integrations.huggingface import from_dataset, to_dataset, to_iterable_dataset  # noqa: E402

COUNT = 50


@pytest.fixture
def records(tmp_path):
    columns = {
        "text": mn.Text(), "label": mn.Scalar("int64"), "image": mn.Array((4, 3), "uint8"),
        "tokens": mn.Ragged("int32", ndim=1), "score": mn.Scalar("float32", nullable=True), "info": mn.Json(),
    }  # fmt: skip
    samples = (
        {
            "text": f"review {k}", "label": k, "image": np.full((4, 3), k, np.uint8),
            "tokens": np.arange(k % 7, dtype=np.int32), "score": None if k % 2 else k / 2, "info": {"k": [k, None]},
        }
        for k in range(COUNT)
    )  # fmt: skip
    return mn.RecordsMmap.from_generator(tmp_path / "records", samples, columns=columns)


# ---- to_dataset


def test_to_dataset_shows_the_samples_with_features_by_their_types(records):
    shown = to_dataset(records)

    assert shown.features == datasets.Features(
        {
            "text": datasets.Value("large_string"),
            "label": datasets.Value("int64"),
            "image": datasets.Array2D((4, 3), "uint8"),
            "tokens": datasets.LargeList(datasets.Value("int32")),
            "score": datasets.Value("float32"),
            "info": datasets.Json(),
        }
    )
    assert len(shown) == COUNT
    assert shown[3] == {
        "text": "review 3", "label": 3, "image": [[3] * 3] * 4, "tokens": [0, 1, 2], "score": None,
        "info": {"k": [3, None]},
    }  # fmt: skip
    batch = shown.with_format("numpy")[2:4]
    assert batch["image"].tolist() == records["image"][2:4].tolist()


def test_to_dataset_copies_no_values(tmp_path):
    count = LARGE // 2
    columns = {
        "label": np.arange(count), "image": np.zeros((count, 2, 2), np.uint8), "text": ["text"] * count,
        "info": [[1, 2]] * count, "ragged": [np.arange(3)] * count, "string": ["text"] * count,
        "list": [np.arange(3)] * count,
    }  # fmt: skip
    stored = mn.RecordsMmap.from_columns(tmp_path / "ds", columns, columns={"info": mn.Json()})
    features = {"string": datasets.Value("string"), "list": datasets.List(datasets.Value("int64"))}
    stored.metadata = {"huggingface": datasets.Features(features).to_dict()}

    table = to_dataset(stored).data.table

    for name in columns:
        (chunk,) = table.column(name).chunks
        assert is_mapped(chunk.buffers()[-1].address, stored.path), name


def test_to_dataset_of_views_and_of_one_column(records):
    assert to_dataset(records.select([4, 2]))["label"][:] == [4, 2]
    assert to_dataset(records.select(slice(10, 13))[["text"]])[:] == {"text": ["review 10", "review 11", "review 12"]}
    assert to_dataset(records["label"].select(slice(2, 4)))[:] == {"sample": [2, 3]}
    assert to_dataset(mn.concat([records, records]))["label"][COUNT - 1 : COUNT + 1] == [COUNT - 1, 0]


DTYPES = ["bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))]
DTYPES += ["float16", "float32", "float64"]
DATES = {"date32": "M8[D]", "timestamp[s]": "M8[s]", "timestamp[us]": "M8[us]", "duration[ms]": "m8[ms]"}


@pytest.mark.parametrize(("value", "dtype"), [*zip(DTYPES, DTYPES, strict=True), *DATES.items()])
def test_dtypes_are_mapped_in_both_ways(tmp_path, value, dtype):
    columns = {"scalar": mn.Scalar(dtype), "row": mn.Array((2,), dtype), "array": mn.Array((2, 2), dtype)}
    stored = mn.RecordsMmap.create(tmp_path / "ds", columns=columns | {"ragged": mn.Ragged(dtype, ndim=1)})
    values = np.array([0, 1]).astype(dtype)
    stored.append({"scalar": values[1], "row": values, "array": np.stack([values, values]), "ragged": values[1:]})

    shown = to_dataset(stored)
    again = from_dataset(shown, tmp_path / "again")

    plain = datasets.Value(value)
    array = (
        datasets.List(datasets.List(plain, 2), 2)
        if "[" in value or value == "date32"
        else datasets.Array2D((2, 2), value)
    )
    assert shown.features["scalar"] == plain
    assert shown.features["row"] == datasets.List(plain, 2)
    assert shown.features["array"] == array
    assert shown.features["ragged"] == datasets.LargeList(plain)
    for name in stored.columns:
        assert again[name][0].dtype == np.dtype(dtype)
        assert np.array_equal(again[name][0], stored[name][0])


def test_arrays_of_three_to_five_dimensions_and_nulls_among_them(tmp_path):
    shapes = {"three": (2, 3, 2), "four": (2, 1, 2, 2), "five": (1, 2, 1, 2, 2)}
    columns = {name: mn.Array(shape, "int16", nullable=True) for name, shape in shapes.items()}
    stored = mn.RecordsMmap.create(tmp_path / "ds", columns=columns)
    full = {name: np.arange(np.prod(shape), dtype=np.int16).reshape(shape) for name, shape in shapes.items()}
    stored.extend([full, dict.fromkeys(shapes), full])

    shown = to_dataset(stored)
    again = from_dataset(shown, tmp_path / "again")

    for (name, shape), feature in zip(
        shapes.items(), [datasets.Array3D, datasets.Array4D, datasets.Array5D], strict=True
    ):
        assert shown.features[name] == feature(shape, "int16")
        assert shown[name][:] == [full[name].tolist(), None, full[name].tolist()]
        assert again[name][1] is None
        assert again[name][2].tolist() == full[name].tolist()


def test_bytes_nested_columns_and_arrays_of_any_shape(tmp_path):
    columns = {
        "raw": mn.Bytes(),
        "meta.lang": mn.Text(nullable=True),
        "meta.more.k": mn.Scalar("int8"),
        "any": mn.Ragged("f4"),
    }
    stored = mn.RecordsMmap.create(tmp_path / "ds", columns=columns)
    stored.append({"raw": b"\0\1", "meta": {"lang": None, "more": {"k": 1}}, "any": np.ones((2, 3), np.float32)})

    (sample,) = to_dataset(stored)

    assert sample["raw"] == b"\0\1"
    assert sample["meta"] == {"lang": None, "more": {"k": 1}}
    assert sample["any"] == {"values": [1.0] * 6, "shape": [2, 3]}


def test_features_in_the_metadata_are_kept(records):
    features = datasets.Features(label=datasets.ClassLabel(num_classes=COUNT), text=datasets.Value("string"))
    records.metadata = {"huggingface": features.to_dict()}

    shown = to_dataset(records)

    assert shown.features["label"].int2str(3) == "3"
    assert shown.features["text"] == datasets.Value("string")
    assert shown["text"][:2] == ["review 0", "review 1"]


@pytest.mark.parametrize("shown_as", [to_dataset, to_iterable_dataset])
def test_path_instead_of_a_dataset_is_refused(shown_as):
    with pytest.raises(TypeError, match=r"got the path 'train'; pass mmap_ninja\.open"):
        shown_as("train")


def test_features_that_do_not_fit_are_refused(records):
    records.metadata = {"huggingface": datasets.Features(text=datasets.Value("int64")).to_dict()}

    with pytest.raises(TypeError, match=r"column 'text' is large_string, but metadata\['huggingface'\] says int64"):
        to_dataset(records)


def test_texts_of_more_than_two_gigabytes_are_cut_into_batches(records, monkeypatch):
    monkeypatch.setattr("mmap_ninja.integrations._huggingface_types._MOST", 40)
    records.metadata = {"huggingface": datasets.Features(text=datasets.Value("string")).to_dict()}

    shown = to_dataset(records)

    assert shown.data.table.column("text").num_chunks > 2
    assert shown["text"][:] == records["text"][:]
    assert shown["image"][:] == records["image"][:].tolist()


def test_offsets_of_arrays_are_shared_by_batches(records, monkeypatch):
    monkeypatch.setattr("mmap_ninja.integrations._huggingface_types._LISTS", 40)

    chunks = to_dataset(records).data.table.column("image").chunks

    assert len(chunks) == 5
    assert len({chunk.storage.values.buffers()[1].address for chunk in chunks}) == 1


def test_pickle_of_a_dataset_has_no_samples(tmp_path):
    stored = mn.RecordsMmap.from_columns(tmp_path / "ds", {"x": np.arange(100_000), "image": np.zeros((100_000, 2, 2))})
    shown = to_dataset(stored)

    for one in (shown, shown.with_format("numpy"), shown.shard(4, 1)):
        told = pickle.dumps(one)
        assert len(told) < 10_000
        assert pickle.loads(told)[5]["x"] == one[5]["x"]


def test_map_with_processes_gets_a_path(records):
    doubled = to_dataset(records).map(lambda sample: {"twice": 2 * sample["label"]}, num_proc=2)

    assert doubled["twice"][:] == [2 * k for k in range(COUNT)]


def test_fingerprint_tells_the_samples(records):
    before = to_dataset(records)._fingerprint
    assert to_dataset(records)._fingerprint == before
    assert to_dataset(records.select([1, 2]))._fingerprint != to_dataset(records.select([2, 1]))._fingerprint

    records[0] = records[1]

    assert to_dataset(records)._fingerprint != before


# ---- from_dataset


def shuffled(shown):
    return shown.shuffle(seed=1)


SHOWN = {
    "all": lambda shown: shown,
    "shuffled": lambda shown: shown.shuffle(seed=1),
    "selected": lambda shown: shown.select([7, 3, 3]),
    "filtered": lambda shown: shown.filter(lambda sample: sample["label"] % 5 == 0),
    "sharded": lambda shown: shown.shard(3, 2),
    "columns": lambda shown: shown.with_format("numpy", columns=["label", "text"]),
    "streamed": lambda shown: shown.to_iterable_dataset(num_shards=3),
}


@pytest.mark.parametrize("name", SHOWN)
def test_from_dataset_stores_what_is_shown_in_its_order(records, tmp_path, name):
    shown = SHOWN[name](to_dataset(records))

    stored = from_dataset(shown, tmp_path / "stored", batch_size=7)

    assert stored["label"][:].tolist() == [int(sample["label"]) for sample in shown]
    assert stored["text"][:] == [f"review {k}" for k in stored["label"]]
    if name != "columns":
        assert all((stored["image"][i] == k).all() for i, k in enumerate(stored["label"]))
        assert [sample.size for sample in stored["tokens"]] == [k % 7 for k in stored["label"]]


FEATURES = {
    "label": (datasets.ClassLabel(names=["bad", "good"]), [0, 1, None]),
    "text": (datasets.Value("string"), ["a", "", None]),
    "bytes": (datasets.Value("binary"), [b"a", b"", None]),
    "list": (datasets.List(datasets.Value("int16")), [[1, 2], [], None]),
    "fixed": (datasets.List(datasets.Value("float32"), 2), [[1.0, 2.0], [3.0, 4.0], None]),
    "large": (datasets.LargeList(datasets.Value("int64")), [[1], [], None]),
    "array2": (datasets.Array2D((2, 3), "uint8"), [[[1, 2, 3], [4, 5, 6]], [[0] * 3] * 2, None]),
    "array3": (datasets.Array3D((1, 2, 1), "float64"), [[[[0.5], [2.0]]], [[[1.0], [2.0]]], None]),
    "array4": (datasets.Array4D((1, 2, 1, 1), "int64"), [[[[[1]], [[2]]]], [[[[3]], [[4]]]], None]),
    "array5": (datasets.Array5D((1, 1, 1, 1, 2), "int64"), [[[[[[1, 2]]]]], [[[[[3, 4]]]]], None]),
    "first": (datasets.Array2D((None, 2), "int32"), [[[1, 2]], [[1, 2], [3, 4]], [[5, 6]]]),
    "dict": ({"a": datasets.Value("int8"), "b": {"c": datasets.Value("string")}}, [{"a": 1, "b": {"c": "x"}}] * 3),
    "sequence": (datasets.Sequence({"a": datasets.Value("int8")}), [{"a": [1]}, {"a": []}, {"a": [2, 3]}]),
    "texts": (datasets.List(datasets.Value("string")), [["a", "b"], [], None]),
    "dicts": (datasets.List({"a": datasets.Value("int64")}), [[{"a": 1}], [], None]),
    "lists": (datasets.List(datasets.List(datasets.Value("int64"))), [[[1], []], [], None]),
    "json": (datasets.Json(), [{"a": [1, "b"]}, 7, None]),
    "translation": (datasets.Translation(["en", "fr"]), [{"en": "a", "fr": "b"}] * 3),
    "date": (datasets.Value("timestamp[us]"), [np.datetime64(f"2026-01-0{day}", "us").item() for day in (1, 2, 3)]),
    "flag": (datasets.Value("bool"), [True, False, None]),
}  # fmt: skip


@pytest.mark.parametrize("name", FEATURES)
def test_features_are_the_same_after_both_ways(tmp_path, name):
    feature, values = FEATURES[name]
    dataset = datasets.Dataset.from_dict({"x": values}, features=datasets.Features(x=feature))

    stored = from_dataset(dataset, tmp_path / "stored", batch_size=2)
    again = to_dataset(stored)

    assert again.features == dataset.features
    assert again["x"][:] == dataset["x"][:]
    assert again.select([2, 0])["x"][:] == dataset.select([2, 0])["x"][:]


def test_from_dataset_makes_the_columns_of_this_library(tmp_path):
    features = datasets.Features({name: feature for name, (feature, _) in FEATURES.items()})
    dataset = datasets.Dataset.from_dict({name: values for name, (_, values) in FEATURES.items()}, features=features)

    stored = from_dataset(dataset, tmp_path / "stored", metadata={"source": "here"})

    assert stored["label"][:].tolist() == [0, 1, None]
    assert stored["array2"][0].dtype == np.uint8
    assert stored["array2"][0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert stored["list"][0].dtype == np.int16
    assert stored["first"][1].shape == (2, 2)
    assert stored["dict.b.c"][:] == ["x"] * 3
    assert stored["sequence.a"][2].tolist() == [2, 3]
    assert stored["texts"][0] == ["a", "b"]
    assert stored["json"][0] == {"a": [1, "b"]}
    assert stored.metadata["source"] == "here"
    assert stored.metadata["huggingface"]["label"]["names"] == ["bad", "good"]


def test_empty_dataset_keeps_its_columns(tmp_path):
    features = datasets.Features(image=datasets.Array2D((2, 2), "uint8"), label=datasets.ClassLabel(names=["a"]))
    dataset = datasets.Dataset.from_dict({"image": [], "label": []}, features=features)

    stored = from_dataset(dataset, tmp_path / "stored")

    assert len(stored) == 0
    assert to_dataset(stored).features == features
    stored.append({"image": np.zeros((2, 2), np.uint8), "label": 0})


def test_splits_are_appended_and_a_build_goes_on(tmp_path):
    parts = datasets.DatasetDict({name: datasets.Dataset.from_dict({"x": [name] * 3}) for name in ("train", "test")})

    for part in parts.values():
        stored = from_dataset(part, tmp_path / "stored", if_exists="append")
    assert stored["x"][:] == ["train"] * 3 + ["test"] * 3

    whole = datasets.concatenate_datasets([*parts.values(), parts["test"]])
    assert from_dataset(whole.select(range(6)), tmp_path / "stored", if_exists="reuse")["x"][:] == stored["x"][:]


def png(color):
    file = io.BytesIO()
    pytest.importorskip("PIL.Image").new("RGB", (2, 3), color).save(file, "PNG")
    return file.getvalue()


def test_images_are_stored_as_files_and_shown_as_images(tmp_path):
    (tmp_path / "red.png").write_bytes(png("red"))
    images = [{"bytes": png("blue"), "path": None}, str(tmp_path / "red.png"), None]
    dataset = datasets.Dataset.from_dict({"image": images}, features=datasets.Features(image=datasets.Image()))

    stored = from_dataset(dataset, tmp_path / "stored")
    (tmp_path / "red.png").unlink()

    assert stored["image.bytes"][:] == [png("blue"), png("red"), None]
    assert stored["image.path"][1] == "red.png"
    shown = to_dataset(stored)
    assert shown.features == dataset.features
    assert shown[1]["image"].getpixel((0, 0)) == (255, 0, 0)


def test_image_whose_file_is_missing_is_refused(tmp_path):
    dataset = datasets.Dataset.from_dict(
        {"image": [str(tmp_path / "no.png")]}, features=datasets.Features(image=datasets.Image())
    )

    with pytest.raises(FileNotFoundError, match="no.png"):
        from_dataset(dataset, tmp_path / "stored")


def test_audio_is_stored_as_files(tmp_path):
    audio = [{"bytes": b"RIFF", "path": "a.wav"}]
    dataset = datasets.Dataset.from_dict({"sound": audio}).cast_column("sound", datasets.Audio(decode=False))

    stored = from_dataset(dataset, tmp_path / "stored")

    assert stored["sound.bytes"][0] == b"RIFF"
    assert to_dataset(stored)[0]["sound"] == audio[0]


def test_wrong_shapes_and_types_are_refused(tmp_path):
    features = datasets.Features(x=datasets.Array2D((2, 2), "uint8"))
    dataset = datasets.Dataset.from_dict({"x": [[[1, 2], [3, 4]], [[1, 2, 3]]]}, features=features)
    with pytest.raises(ValueError, match=r"column 'x': expected arrays of shape \(2, 2\), found others"):
        from_dataset(dataset, tmp_path / "stored")

    decimals = datasets.Dataset.from_dict({"x": [decimal.Decimal("1.5")]})
    with pytest.raises(TypeError, match="column 'x': Arrow type decimal128"):
        from_dataset(decimals, tmp_path / "stored")

    lists = datasets.Features(x=datasets.List(datasets.Image()))
    images = datasets.Dataset.from_dict({"x": [[{"bytes": b"png", "path": None}]]}, features=lists)
    with pytest.raises(TypeError, match="column 'x': sample 0: a value of type bytes"):
        from_dataset(images, tmp_path / "stored")

    with pytest.raises(TypeError, match="pass one of its values"):
        from_dataset(datasets.DatasetDict(train=decimals), tmp_path / "stored")


BUILD = """
import sys, datasets, numpy as np, pyarrow as pa
from mmap_ninja.integrations.huggingface import from_dataset
dataset = datasets.load_from_disk(sys.argv[1]).shuffle(seed=0)
before = pa.total_allocated_bytes()
stored = from_dataset(dataset, sys.argv[2])
print(len(stored), pa.default_memory_pool().max_memory() - before)
"""


def test_from_dataset_needs_memory_for_a_batch(tmp_path):
    features = datasets.Features(image=datasets.Array3D((64, 64, 3), "uint8"))
    images = np.zeros((8000, 64, 64, 3), np.uint8)  # 98 MB
    stored = mn.RecordsMmap.from_columns(tmp_path / "stored", {"image": images})
    to_dataset(stored).save_to_disk(tmp_path / "disk")
    assert to_dataset(stored).features == features

    told = subprocess.run(
        [sys.executable, "-c", BUILD, tmp_path / "disk", tmp_path / "again"], capture_output=True, text=True, check=True
    )

    count, most = map(int, told.stdout.split())
    assert count == 8000
    assert most < 40 << 20


# ---- to_iterable_dataset


def labels(stream):
    """The labels of samples, or of batches."""
    return [int(label) for element in stream for label in np.atleast_1d(element["label"])]


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("shuffle", [False, True])
def test_stream_gives_every_sample_once_in_each_epoch(records, batch_size, shuffle):
    records = records[["text", "label"]]
    stream = to_iterable_dataset(records, batch_size, shuffle=shuffle)

    epochs = []
    for epoch in range(3):
        stream.set_epoch(epoch)
        epochs.append(labels(stream))

    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert (epochs[0] == epochs[1]) != shuffle
    assert len({tuple(epoch) for epoch in epochs}) == (3 if shuffle else 1)
    assert epochs[0] == labels(to_iterable_dataset(records, batch_size, shuffle=shuffle))


def test_samples_and_batches_are_those_of_the_dataset(records):
    sample = next(iter(to_iterable_dataset(records)))
    batch = next(iter(to_iterable_dataset(records, 3, pad=mn.Pad(value=-1), fill={"score": 0})))

    assert sample.keys() == records[0].keys()
    assert sample["text"] == "review 0"
    assert sample["image"].tolist() == records[0]["image"].tolist()
    assert batch["tokens"].tolist() == [[-1, -1], [0, -1], [0, 1]]
    assert batch["score"].tolist() == [0, 0, 1]
    assert batch["text"] == ["review 0", "review 1", "review 2"]


def test_streams_of_other_kinds_have_one_column(records, tmp_path):
    texts = mn.StringsMmap.from_strings(tmp_path / "texts", ["a", "b", "c"])

    assert list(to_iterable_dataset(texts)) == [{"sample": "a"}, {"sample": "b"}, {"sample": "c"}]
    assert list(to_iterable_dataset(texts, 2)) == [{"sample": ["a", "b"]}, {"sample": ["c"]}]
    assert labels(to_iterable_dataset(mn.concat([records, records])[["label"]], 30)) == [*range(COUNT), *range(COUNT)]
    assert labels(to_iterable_dataset([{"label": 1}, {"label": 2}])) == [1, 2]
    windows = to_iterable_dataset(records["tokens"].windows(2), 4)
    assert next(iter(windows))["sample"].shape == (4, 2)


def test_stream_has_the_features_of_the_dataset(records):
    stream = to_iterable_dataset(records[["text", "label"]])

    assert stream.features == to_dataset(records[["text", "label"]]).features
    assert stream.column_names == ["text", "label"]
    mapped = stream.map(lambda sample: {"twice": 2 * sample["label"]}, remove_columns=stream.column_names)
    assert list(mapped.take(2)) == [{"twice": 0}, {"twice": 2}]
    assert labels(stream.filter(lambda sample: sample["label"] % 10 == 0)) == [0, 10, 20, 30, 40]
    assert next(stream.iter(3)) == {"text": ["review 0", "review 1", "review 2"], "label": [0, 1, 2]}


def test_stream_gives_tensors(records):
    torch = pytest.importorskip("torch")

    for batch_size, shape in ((None, (4, 3)), (8, (8, 4, 3))):
        stream = to_iterable_dataset(records[["image", "text", "label"]], batch_size).with_format("torch")
        element = next(iter(stream))
        assert isinstance(element["image"], torch.Tensor)
        assert element["image"].shape == shape
        assert isinstance(element["text"], str if batch_size is None else list)


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("epoch", [0, 2])
def test_stream_goes_on_where_it_stopped_twice(records, batch_size, shuffle, epoch):
    def made():
        stream = to_iterable_dataset(records[["text", "label"]], batch_size, shuffle=shuffle)
        stream.set_epoch(epoch)
        return stream

    seen, state = [], None
    for _ in range(3):
        stream = made()
        if state is not None:
            stream.load_state_dict(json.loads(json.dumps(state)))
        elements = iter(stream)
        seen += labels([next(elements), next(elements), next(elements)])
        state = stream.state_dict()
    last = made()
    last.load_state_dict(state)
    assert seen + labels(last) == labels(made())


def test_states_at_the_ends_and_after_an_iterator_was_made(records):
    stream = to_iterable_dataset(records, shuffle=True)
    whole = labels(stream)

    over = stream.state_dict()
    stream.load_state_dict(over)
    assert labels(stream) == []
    stream.set_epoch(1)
    assert sorted(labels(stream)) == list(range(COUNT))

    stream = to_iterable_dataset(records, shuffle=True)
    beginning = stream.state_dict()
    iter(stream)
    stream.load_state_dict(beginning)
    assert labels(stream) == whole


def test_iterators_do_not_move_each_other(records):
    stream = to_iterable_dataset(records)

    pairs = [(one["label"], other["label"]) for one, other in zip(stream, stream, strict=True)]

    assert pairs == [(k, k) for k in range(COUNT)]


def test_state_of_other_samples_is_refused(records):
    stream = to_iterable_dataset(records, shuffle=True)
    next(iter(stream))
    state = stream.state_dict()

    for other in (
        to_iterable_dataset(records.select(slice(1, None)), shuffle=True), to_iterable_dataset(records),
        to_iterable_dataset(records, shuffle=True, seed=1),
    ):  # fmt: skip
        other.load_state_dict(state)
        with pytest.raises(ValueError, match="state: is of"):
            next(iter(other))

    records.append(records[0])
    grown = to_iterable_dataset(records.select(slice(0, COUNT)), shuffle=True)
    grown.load_state_dict(state)
    assert len(labels(grown)) == COUNT - 1


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8, 11, 64])
def test_ranks_see_disjoint_samples_that_cover_all(records, batch_size, world_size):
    stream = to_iterable_dataset(records[["label"]], batch_size, shuffle=True)
    stream.set_epoch(3)

    seen = []
    for rank in range(world_size):
        share = split_dataset_by_node(stream, rank, world_size)
        share.set_epoch(3)
        seen.append(labels(share))

    assert sorted(itertools.chain(*seen)) == list(range(COUNT))
    if world_size <= 10:
        assert max(map(len, seen)) - min(map(len, seen)) <= 1
        assert [share[0] for share in seen] == labels(stream)[:world_size]


@pytest.mark.parametrize("worlds", [(2, 1), (1, 2), (8, 2), (2, 8)])
def test_another_number_of_ranks_goes_on_with_what_is_left(records, worlds):
    def share(rank, world_size):
        return split_dataset_by_node(to_iterable_dataset(records, shuffle=True), rank, world_size)

    seen, states = [], []
    for rank in range(worlds[0]):
        stream = share(rank, worlds[0])
        elements = iter(stream)
        seen += labels([next(elements), next(elements), next(elements)])
        states.append(stream.state_dict())
    for rank in range(worlds[1]):
        stream = share(rank, worlds[1])
        stream.load_state_dict(states[0])
        seen += labels(stream)

    assert all(state == states[0] for state in states)
    assert sorted(seen) == list(range(COUNT))


def test_shares_of_shares_are_disjoint(records):
    stream = to_iterable_dataset(records, shuffle=True)
    halves = [split_dataset_by_node(stream, rank, 2) for rank in range(2)]
    quarters = [split_dataset_by_node(half, rank, 2) for half in halves for rank in range(2)]

    assert sorted(itertools.chain(*map(labels, quarters))) == list(range(COUNT))
    assert sorted(itertools.chain(*(labels(stream.shard(3, index)) for index in range(3)))) == list(range(COUNT))


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize(("context", "batch_size"), [("fork", None), ("fork", 4), ("spawn", 4)])
def test_workers_of_a_data_loader_share_a_stream(records, context, batch_size):
    data = pytest.importorskip("torch.utils.data")
    stream = to_iterable_dataset(records[["label"]], batch_size, shuffle=True)

    for epoch in range(2):
        stream.set_epoch(epoch)
        loader = data.DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context=context)
        assert sorted(labels(loader)) == list(range(COUNT))


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_persistent_workers_see_the_whole_of_later_epochs_after_a_resume(records):
    """A bug of `datasets` once (#7447): what was loaded shortened every later epoch, too."""
    data = pytest.importorskip("torch.utils.data")
    stream = to_iterable_dataset(records[["label"]], shuffle=True)
    next(iter(stream))
    stream.load_state_dict(stream.state_dict())
    loader = data.DataLoader(
        stream, batch_size=None, num_workers=2, multiprocessing_context="fork", persistent_workers=True
    )

    epochs = []
    for epoch in range(3):
        stream.set_epoch(epoch)
        epochs.append(labels(loader))

    assert len(epochs[0]) == COUNT - 1
    assert sorted(epochs[1]) == sorted(epochs[2]) == list(range(COUNT))
    assert epochs[1] != epochs[2]


@pytest.mark.filterwarnings("ignore:.*(set_vital|use of fork).*")
@pytest.mark.parametrize("workers", [0, 2])
def test_stateful_data_loader_goes_on_twice_with_a_stream(records, workers):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def made():
        stream = split_dataset_by_node(to_iterable_dataset(records[["label"]], shuffle=True), 1, 2)
        return stateful(stream, batch_size=4, num_workers=workers)

    seen, state = [], None
    for _ in range(2):
        loader = made()
        if state is not None:
            loader.load_state_dict(state)
        batches = iter(loader)
        seen += labels([next(batches), next(batches)])
        state = loader.state_dict()
    loader = made()
    loader.load_state_dict(state)
    assert seen + labels(loader) == labels(made())


def test_stream_composes_with_those_of_others(records, tmp_path):
    other = to_iterable_dataset(mn.RecordsMmap.from_columns(tmp_path / "other", {"label": np.arange(100, 110)}))
    mixed = datasets.interleave_datasets([to_iterable_dataset(records[["label"]]), other])
    whole = labels(mixed)

    elements = iter(mixed)
    first = labels([next(elements) for _ in range(7)])
    mixed.load_state_dict(mixed.state_dict())

    assert first + labels(mixed) == whole
    assert labels(datasets.concatenate_datasets([other, other])) == [*range(100, 110)] * 2


def test_pickle_of_a_stream_is_small_and_shows_the_same_commit(records):
    told = pickle.dumps(to_iterable_dataset(records, shuffle=True))
    whole = labels(to_iterable_dataset(records, shuffle=True))
    records.append(records[0])

    assert len(told) < 5000
    assert labels(pickle.loads(told)) == whole


def test_forms_without_batches_are_refused(records):
    with pytest.raises(ValueError, match="batch_size: expected a number"):
        to_iterable_dataset(records, pad=mn.Pad())
    with pytest.raises(ValueError, match="batch_size=0: expected 1 to"):
        to_iterable_dataset(records, 0)


def test_saved_datasets_are_converted(tmp_path):
    """What `save_to_disk` wrote is read without `datasets`; it stores rows that were selected in their order."""
    source = datasets.Dataset.from_dict(
        {"text": ["a", "b", None], "label": [0, 1, 0], "ids": [[1], [], [2, 3]]},
        features=datasets.Features(
            {
                "text": datasets.Value("string"),
                "label": datasets.ClassLabel(names=["no", "yes"]),
                "ids": datasets.List(datasets.Value("int32")),
            }
        ),
    )
    source.save_to_disk(tmp_path / "plain", num_shards=2)
    source.select([2, 0]).save_to_disk(tmp_path / "selected")
    datasets.DatasetDict({"train": source, "test": source}).save_to_disk(tmp_path / "splits")

    for name, wanted in (("plain", source), ("selected", source.select([2, 0])), ("splits/test", source)):
        ds = mn.convert(tmp_path / name, tmp_path / "out", if_exists="replace")
        assert ds["text"][:] == wanted["text"][:]
        assert ds["label"][:].tolist() == wanted["label"][:]
        assert [ids.tolist() for ids in ds["ids"]] == wanted["ids"][:]
    with pytest.raises(ValueError, match="found a dict of 2; convert one of them"):
        mn.convert(tmp_path / "splits", tmp_path / "out2")
