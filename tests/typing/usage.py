"""Public names in code of users, for type checkers; only read by `make types`, never run."""

from typing import Any, Literal, assert_type

import numpy as np
import numpy.typing as npt

import mmap_ninja as mn
from mmap_ninja.base import Wrapped
from mmap_ninja.numpy import from_ndarray
from mmap_ninja.ragged import RaggedMmap
from mmap_ninja.string import StringsMmap

AnyArray = npt.NDArray[Any]
Offsets = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Record = dict[str, Any]


def strings() -> None:
    texts = StringsMmap.from_generator("texts", (str(number) for number in range(9)), batch_size=4, verbose=True)
    StringsMmap.from_strings("copies", mn.concat([texts, texts]))
    assert_type(texts, mn.StringsMmap)
    assert_type(texts[0], str)
    assert_type(texts[1:3], list[str])
    assert_type(texts[[2, 0]], list[str])
    assert_type(texts.take(np.arange(2)), list[str])
    assert_type(texts.take([0], nulls="raise"), list[str])
    assert_type(texts.select(texts == "1"), mn.StringsMmap)
    assert_type(texts.take_jagged([0, 1]), tuple[npt.NDArray[np.uint8], Offsets])
    assert_type(list(reversed(texts)), list[str])
    assert_type(texts.select(slice(3, None)), mn.StringsMmap)
    assert_type(texts.split([0.9, 0.1], seed=0, exact=True), list[mn.StringsMmap])
    assert_type(texts.commit_id, str | None)
    assert_type(mn.BytesMmap("bytes", mode="r")[0], bytes)
    with mn.StringsMmap("texts") as opened:
        opened.append("text")
        opened.extend(["more", "texts"])
        opened[0] = "another"
        opened[:2] = ["two", "others"]
        del opened[-1], opened[:1]
        assert_type(opened.pop(), str)
        opened.compact(order=np.arange(len(opened)))


def arrays() -> None:
    images = mn.ArrayMmap.from_ndarray("images", np.zeros((3, 2, 4), np.uint8))
    assert_type(images[0], AnyArray)
    assert_type(images[:, 0, ::2], AnyArray)
    assert_type(images[images[:, 0, 0] > 0], AnyArray)
    assert_type(images.take([1, 0]), AnyArray)
    assert_type(images.take([1, 0], fill=0), AnyArray)
    assert_type(np.asarray(images), AnyArray)
    from_ndarray("memmap", np.zeros(3))

    tokens = RaggedMmap.from_lists("tokens", [np.arange(3), np.arange(5)])
    RaggedMmap.from_lists("copies", tokens.select([0]))
    assert_type(tokens[0], AnyArray)
    assert_type(tokens[:2], list[AnyArray])
    assert_type(tokens.take_padded([0, 1], value=-1, multiple_of=2), tuple[AnyArray, Offsets])
    assert_type(tokens.take_padded([0], side="left", dtype="i8", mask=True), tuple[AnyArray, Offsets, Mask])
    assert_type(tokens.windows(2).take([0], dtype="i8"), AnyArray)
    assert_type(tokens.take_jagged([0, 1]), tuple[AnyArray, Offsets])
    tokens.append([1, 2])
    tokens.extend([[1, 2], np.arange(3)])
    assert_type(tokens.loader(8, pad=mn.Pad(), shuffle=mn.Shuffle(2)), mn.Loader)
    windows = tokens.windows(2)
    assert_type(windows, mn.Windows)
    assert_type(windows[0], AnyArray)
    assert_type(windows.take([0, 1]), AnyArray)
    assert_type(windows.select(slice(2)), mn.Windows)
    described = tokens.windows(2, documents=True)
    assert_type(described, mn.DocumentWindows)
    assert_type(described.take([0, 1]), dict[str, Any])
    assert_type(described.select(slice(2)), mn.DocumentWindows)


def records() -> None:
    train = mn.RecordsMmap.from_generator("train", [{"label": 1, "text": "good"}], if_exists="reuse", version="1")
    assert_type(train[0], Record)
    assert_type(train[:2], list[Record])
    assert_type(train[["label"]], mn.RecordsMmap)
    assert_type(train.take([0]), Record)
    assert_type(train.take([0], nulls="raise", fill={"label": -1}), Record)
    assert_type(train.columns, list[str])
    assert_type(train.split([0.9, 0.1], seed=0, by="label"), list[mn.RecordsMmap])
    labels: mn.ArrayMmap = train["label"]
    assert_type(labels[:], AnyArray)
    mn.RecordsMmap.create("val", columns={"text": mn.Text(codec="zstd"), "score": mn.Scalar(np.float32, nullable=True)})
    train.append({"label": 2, "text": "bad"})
    train.extend({"label": np.arange(2), "text": ["a", "b"]})
    train.add_column("weight", np.linspace(0, 1, 2))
    train.set_nullable("weight")
    train.metadata = {**train.metadata, "version": 2}


def together() -> None:
    texts = mn.StringsMmap("texts")
    both = mn.concat([texts, texts.select([0])])
    assert_type(both, mn.StringsMmap)
    mixed = mn.mix([texts, both], weights=[0.7, 0.3], seed=1, stop="all")
    assert_type(list(mixed), list[str])
    assert_type(mixed.loader(8, num_threads=0), mn.Loader)
    assert_type(both.split([0.9, 0.1], seed=0), list[mn.StringsMmap])
    assert_type(texts.filter(str.isalpha), mn.StringsMmap)
    assert_type(texts.filter(str.isalpha).save("letters", if_exists="replace"), mn.StringsMmap)
    assert_type(list(texts.map(len)), list[int])
    assert_type(Wrapped(texts, len).__getitems__([0]), list[int])
    lengths: list[int] = list(Wrapped(both, len))
    assert len(lengths) == len(both)
    mn.merge(["a", "b"], "out")
    assert_type(mn.verify("texts", level="full").ok, bool)
    assert_type(mn.recover("texts", keep="readable").samples, int)
    mn.RaggedMmap.from_indexable("photos", mn.parallel.make_indexable(np.arange, length=9), n_jobs=2)


def photo(index: int) -> AnyArray:
    return np.full((index % 5 + 1, 3), index)


def opened() -> None:
    dataset = mn.open("somewhere", "r", read_mode="pread", follow_symlinks=True)
    assert_type(dataset.mode, Literal["r", "rb", "r+", "r+b", "c"] | None)
    assert_type(dataset.read_mode, Literal["mmap", "pread"])
    assert_type(dataset, mn.DatasetHandle[Any])
    if isinstance(dataset, mn.RecordsMmap):
        assert_type(dataset[0], Record)
    assert_type(mn.open("somewhere", kind="strings"), mn.StringsMmap)
    assert_type(mn.open("somewhere", kind="bytes"), mn.BytesMmap)
    assert_type(mn.open("somewhere", "r", kind="array")[:, 0], AnyArray)
    assert_type(mn.open("somewhere", kind="ragged", verify="full"), mn.RaggedMmap)
    assert_type(mn.open("somewhere", kind="records")[["label"]], mn.RecordsMmap)
    try:
        mn.open("nowhere")
    except mn.NotADatasetError as error:
        assert_type(error.filename, Any)
