"""Compressed strings and bytes: compared with a plain list and with zstandard; and damage."""

import base64
import itertools
import json
import mmap
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmap_ninja
from mmap_ninja import BytesMmap, CorruptDatasetError, StringsMmap, _kernel
from mmap_ninja.columns import codec
from mmap_ninja.columns.types import Zstd
from mmap_ninja.engine import files
from mmap_ninja.format.meta import decode_meta
from support.faults import META, replace_meta
from support.golden import GOLDEN
from support.reference_reader import read as read_by_the_page

zstandard = pytest.importorskip("zstandard")

WORDS = ["film", "größer", "plot", "日本", "acting", "the", "a", "was", "😀", "terrible", "story", "of"]
LIMIT = 2**31 - 1


def reviews(count=2000, seed=0):
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randrange(80))) for _ in range(count)]


@pytest.fixture
def texts(tmp_path):
    return StringsMmap.from_strings(tmp_path / "ds", reviews(), zstd_level=3)


def file_of(path, role):
    return next(path.glob(f"c0.{role}-*"))


def spans(path):
    ends = np.fromfile(file_of(path, "offsets"), np.uint64).tolist()
    payload = file_of(path, "data").read_bytes()
    return [payload[start:end] for start, end in itertools.pairwise(ends)]


def frames_as_dataset(path, frames, sizes):
    """A dataset whose committed rows are these frames, with these stated sizes."""
    dataset = BytesMmap.from_bytes(path, [], zstd_level=3)
    ends = np.cumsum([len(frame) for frame in frames], dtype=np.uint64).tobytes()
    parts = (b"".join(frames), ends, np.asarray(sizes, np.uint32).tobytes())
    dataset._state.dataset.commit(lambda columns: (columns, parts), len(frames))
    dataset.close()
    return BytesMmap(path)


# ---- the same as a list


@given(
    samples=st.lists(st.text(), max_size=20),
    more=st.lists(st.text(), max_size=5),
    level=st.sampled_from([-5, 0, 1, 3, 19]),
    start=st.none() | st.integers(-25, 25),
    step=st.none() | st.integers(-4, 4).filter(bool),
)
@settings(max_examples=40)
def test_dataset_reads_like_a_list(tmp_path_factory, samples, more, level, start, step):
    expected = samples + more
    dataset = StringsMmap.from_strings(tmp_path_factory.mktemp("list") / "ds", samples, zstd_level=level)
    dataset.extend(more)

    assert list(dataset) == expected
    assert [dataset[k] for k in range(len(expected))] == expected
    assert dataset[start::step] == expected[start::step]
    assert list(reversed(dataset)) == expected[::-1]
    assert dataset.byte_lengths.tolist() == [len(sample.encode()) for sample in expected]
    for sample in [*expected, "missing"]:
        assert (sample in dataset) == (sample in expected)
        assert dataset.count(sample) == expected.count(sample)
    assert list(dataset.select(slice(start, None, step))) == expected[start::step]
    values, offsets = dataset.take_jagged(slice(start, None, step))
    chosen = [sample.encode() for sample in expected[start::step]]
    assert [values[a:b].tobytes() for a, b in itertools.pairwise(offsets)] == chosen


@given(samples=st.lists(st.binary(max_size=3000), max_size=20))
def test_bytes_read_like_a_list(tmp_path_factory, samples):
    dataset = BytesMmap.from_bytes(tmp_path_factory.mktemp("list") / "ds", samples, zstd_level=3)

    assert list(dataset) == samples == dataset[:] == [dataset[k] for k in range(len(samples))]


@pytest.mark.parametrize("dictionary_size", [None, 4096])
def test_large_batches_on_several_threads_read_like_a_list(tmp_path, dictionary_size):
    expected = [text * 40 for text in reviews()]  # several MiB
    dataset = StringsMmap.from_strings(
        tmp_path / "ds", expected, zstd_level=1, zstd_train_dictionary_size=dictionary_size
    )
    indices = random.Random(1).choices(range(len(expected)), k=5000)

    assert dataset.take(indices) == [expected[k] for k in indices]
    assert list(dataset) == expected
    values, offsets = dataset.take_jagged(indices[:700])
    assert values.tobytes() == "".join(expected[k] for k in indices[:700]).encode()
    assert offsets[-1] == len(values)
    assert dataset.index(expected[1234]) == expected.index(expected[1234])
    assert dataset.select(indices)[-1] == expected[indices[-1]]


def test_threads_share_a_handle_and_an_iterator(tmp_path):
    expected = reviews(3000)
    dataset = StringsMmap.from_strings(tmp_path / "ds", expected, zstd_level=3)
    iterator, seen, wrong = iter(dataset), [], []

    def read(seed):
        seen.extend(iterator)
        chance = random.Random(seed)
        for _ in range(20):
            indices = chance.choices(range(len(expected)), k=300)
            if dataset.take(indices) != [expected[k] for k in indices]:
                wrong.append(seed)
            if dataset[indices[0]] != expected[indices[0]]:
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(seen) == sorted(expected)
    assert wrong == []


def test_iterator_continues_after_close(texts):
    iterator = iter(texts)
    first = [next(iterator) for _ in range(3)]
    texts.close()

    assert first + list(iterator) == reviews()


def test_views_pickles_and_refresh_see_the_same_as_in_a_list(tmp_path):
    expected = reviews()
    texts = StringsMmap.from_strings(tmp_path / "ds", expected, zstd_level=3, zstd_train_dictionary_size=4096)
    reader, view = StringsMmap(tmp_path / "ds", "r"), texts.select(slice(10, 20))
    texts.extend(expected)

    assert len(pickle.dumps(texts)) < 1024
    assert pickle.loads(pickle.dumps(texts))[:] == expected * 2
    assert pickle.loads(pickle.dumps(view))[:] == view[:] == expected[10:20]
    assert len(reader) == len(expected)
    reader.refresh()
    assert reader[:] == expected * 2
    assert mmap_ninja.open(tmp_path / "ds")[-1] == expected[-1]


# ---- what is stored


@pytest.mark.parametrize("dictionary_size", [None, 4096])
def test_files_are_as_the_page_specifies(tmp_path, dictionary_size):
    texts = StringsMmap.from_strings(
        tmp_path / "ds", reviews(), zstd_level=3, zstd_train_dictionary_size=dictionary_size
    )
    texts.append("appended")
    texts.close()

    assert read_by_the_page(tmp_path / "ds") == [*reviews(), "appended"]


def test_payload_is_one_stream_of_standard_frames(texts):
    payload = file_of(texts.path, "data").read_bytes()

    reader = zstandard.ZstdDecompressor().stream_reader(payload, read_across_frames=True)
    assert reader.read().decode() == "".join(reviews())
    for text, frame in zip(reviews(), spans(texts.path), strict=True):
        if text:
            header = zstandard.get_frame_parameters(frame)
            assert (header.content_size, header.dict_id, header.has_checksum) == (len(text.encode()), 0, False)
        else:
            assert frame == b""


def test_nbytes_are_those_on_disk_and_starts_those_of_the_frames(texts):
    stored = [len(frame) for frame in spans(texts.path)]

    assert texts.nbytes == sum(stored) == file_of(texts.path, "data").stat().st_size < len("".join(reviews()))
    assert texts.select(slice(5, 9)).nbytes == sum(stored[5:9])
    assert (texts.ends - texts.starts).tolist() == stored


def test_frames_are_not_larger_than_those_of_zstandard(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", reviews(), zstd_level=3, zstd_train_dictionary_size=4096)
    document = texts._state.columns[0].type.codec
    dictionary = zstandard.ZstdCompressionDict(document.dictionary)

    compressor = zstandard.ZstdCompressor(level=3, dict_data=dictionary)
    assert texts.nbytes < sum(len(compressor.compress(text.encode())) for text in reviews())


def test_uncompressed_dataset_has_no_codec_in_its_meta(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", ["a"])

    assert "codec" not in (tmp_path / "ds" / "meta-1.json").read_text()
    assert not list((tmp_path / "ds").glob("*sizes*"))


# ---- building and appending


def test_append_by_another_process_is_compressed_with_the_same_dictionary(tmp_path):
    path = tmp_path / "ds"
    texts = StringsMmap.from_generator(path, reviews(), 1024, zstd_level=3, zstd_train_dictionary_size=4096)
    script = "import sys, mmap_ninja; mmap_ninja.open(sys.argv[1]).extend(['the plot', '', 'was terrible'] * 100)"
    subprocess.run([sys.executable, "-c", script, path], check=True, timeout=60)

    texts.refresh()
    assert texts[:] == reviews() + ["the plot", "", "was terrible"] * 100
    assert read_by_the_page(path) == texts[:]


def test_interrupted_build_with_a_dictionary_is_resumed(tmp_path):
    def dying():
        yield from reviews()[:1500]
        raise OSError("the network is gone")

    options = {"batch_size": 500, "zstd_level": 3, "zstd_train_dictionary_size": 4096}
    with pytest.raises(OSError, match="network"):
        StringsMmap.from_generator(tmp_path / "ds", dying(), **options)
    dictionary = re.search('"dictionary": "(.*)"', next((tmp_path / "ds").glob("meta-*")).read_text())[1]

    texts = StringsMmap.from_generator(tmp_path / "ds", reviews(), if_exists="resume", **options)

    assert texts[:] == reviews()
    assert texts.complete
    assert dictionary in next((tmp_path / "ds").glob("meta-*")).read_text()


def test_replacing_with_a_dictionary_keeps_the_old_samples_until_the_end(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", ["old"])

    def checking():
        yield from reviews()
        assert StringsMmap(tmp_path / "ds")[:] == ["old"]

    texts = StringsMmap.from_generator(tmp_path / "ds", checking(), 500, zstd_level=3, zstd_train_dictionary_size=4096)

    assert texts[:] == reviews()
    assert StringsMmap.from_strings(tmp_path / "ds", ["plain"])[:] == ["plain"]


@pytest.mark.parametrize(
    "options", [{"zstd_level": 9}, {"zstd_level": 3, "zstd_train_dictionary_size": 4096}], ids=["level", "dictionary"]
)
@pytest.mark.parametrize("if_exists", ["append", "resume"])
def test_going_on_with_another_codec_raises(texts, if_exists, options):
    with pytest.raises(ValueError, match=r"codec: got .*, but the dataset has .*level=3.* leave zstd_level"):
        StringsMmap.from_strings(texts.path, reviews(), if_exists=if_exists, **options)

    assert texts[:] == reviews()


@pytest.mark.parametrize("options", [{}, {"zstd_level": 3}])
def test_appending_build_uses_the_codec_that_is_there(texts, options):
    more = StringsMmap.from_strings(texts.path, ["more"] * 300, if_exists="append", **options)

    assert more[:] == reviews() + ["more"] * 300
    assert more.nbytes - texts.nbytes < 300 * 20


def test_dictionary_of_a_dataset_that_began_empty_is_trained_by_its_first_batch(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", [], zstd_level=3, zstd_train_dictionary_size=1024)
    reader = StringsMmap(tmp_path / "ds")
    with pytest.raises(ValueError, match=r"no dictionary can be trained .* start with more or longer samples"):
        texts.append("too few")
    assert len(texts) == 0

    texts.extend([])
    texts.extend(reviews())

    assert texts[:] == reviews()
    assert texts._state.columns[0].type.codec.dictionary
    reader.refresh()
    assert reader[:] == reviews()


def test_batch_too_small_for_a_dictionary_raises(tmp_path):
    with pytest.raises(ValueError, match=r"ds: no dictionary can be trained .* smaller zstd_train_dictionary_size"):
        StringsMmap.from_strings(tmp_path / "ds", ["a", "b"], zstd_level=3, zstd_train_dictionary_size=4096)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"zstd_train_dictionary_size": 4096},
            r"zstd_train_dictionary_size \d+: expected a zstd_level with it, got None",
        ),
        ({"zstd_level": 23}, "zstd_level 23: expected -131072 to 22"),
        ({"zstd_level": 3, "zstd_train_dictionary_size": 100}, "expected 256 to 4194304"),
        ({"zstd_level": 3, "zstd_train_dictionary_size": 1 << 30}, "expected 256 to 4194304"),
    ],
)
def test_impossible_options_raise_and_leave_nothing(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        StringsMmap.from_strings(tmp_path / "ds", ["a"], **options)

    assert not (tmp_path / "ds").exists()


def test_samples_of_another_type_store_nothing(texts):
    with pytest.raises(TypeError, match=r"sample 2001: expected str, got int.*\(sample 2000 is the first new one\)"):
        texts.extend(["a", 3])

    assert texts[:] == reviews()


# ---- without the library


@pytest.fixture
def without_zstandard(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)


@pytest.mark.usefixtures("without_zstandard")
def test_creating_without_the_library_names_the_extra_and_leaves_nothing(tmp_path):
    with pytest.raises(ImportError, match=re.escape('pip install "mmap_ninja[zstd]"')):
        StringsMmap.from_strings(tmp_path / "ds", ["a"], zstd_level=3)

    assert not (tmp_path / "ds").exists()
    assert StringsMmap.from_strings(tmp_path / "ds", ["a"])[:] == ["a"]


@pytest.mark.parametrize("open_", [StringsMmap, mmap_ninja.open])
def test_opening_without_the_library_names_the_extra(texts, without_zstandard, open_):
    with pytest.raises(ImportError, match=r'ds: compressed samples need libzstd: pip install "mmap_ninja\[zstd\]"'):
        open_(texts.path)


def test_refresh_to_compressed_samples_without_the_library_shows_the_old_ones(tmp_path, monkeypatch):
    reader = StringsMmap.from_strings(tmp_path / "ds", ["plain"])
    StringsMmap.from_strings(tmp_path / "ds", ["compressed"], zstd_level=3)
    monkeypatch.setitem(sys.modules, "zstandard", None)

    for _ in range(2):
        with pytest.raises(ImportError, match="mmap_ninja"):
            reader.refresh()
        assert reader[:] == ["plain"]


def test_library_of_another_build_is_refused():
    with pytest.raises(ImportError, match="is not a shared library with the functions of libzstd"):
        _kernel.Zstd(_kernel.__file__, 3, b"")


# ---- damage


def all_reads(dataset):
    return [
        lambda: dataset[1],
        lambda: dataset.take([0, 1]),
        lambda: dataset[:],
        lambda: list(dataset),
        lambda: dataset.take_jagged([1]),
        lambda: dataset.select([1])[0],
    ]


def good(size=3000):
    data = random.Random(size).randbytes(size // 2) * 2
    return data, zstandard.ZstdCompressor().compress(data)


def frame_without_size(data):
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


def bomb(size):
    """A frame whose header and sizes agree on a size that its few bytes cannot hold."""
    return b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little") + b"\x03\x00\x00"


DATA, FRAME = good()
DAMAGE = {
    "no frame": (DATA[:500], 500),
    "empty": (b"", 500),
    "truncated": (FRAME[:-10], len(DATA)),
    "header alone": (FRAME[:8], len(DATA)),
    "flipped magic": (b"\0" + FRAME[1:], len(DATA)),
    "other size": (FRAME, len(DATA) - 1),
    "size zero": (FRAME, 0),
    "size that it cannot have": (bomb(2**31 - 1), 2**31 - 1),
    "size past the limit": (bomb(2**32 - 1), 2**32 - 1),
    "size within reach": (bomb(200_000), 200_000),
    "no size": (frame_without_size(DATA), len(DATA)),
    "two frames": (FRAME + FRAME, len(DATA)),
    "unknown dictionary": (
        zstandard.ZstdCompressor(
            dict_data=zstandard.train_dictionary(1024, [text.encode() for text in reviews()])
        ).compress(DATA),
        len(DATA),
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_frame_is_named_and_the_others_are_read(tmp_path, name):
    bad, size = DAMAGE[name]
    dataset = frames_as_dataset(tmp_path / "ds", [FRAME, bad, FRAME], [len(DATA), size, len(DATA)])

    for read in all_reads(dataset):
        with pytest.raises(CorruptDatasetError, match="ds: sample 1 cannot be decompressed"):
            read()
    assert dataset[0] == dataset[2] == DATA
    iterator = iter(dataset)
    assert next(iterator) == DATA
    with pytest.raises(CorruptDatasetError):
        next(iterator)
    assert next(iterator) == DATA
    if 0 < size <= LIMIT and size < 2**20:
        with pytest.raises(CorruptDatasetError):
            dataset.index(bytes(size))


def test_first_damaged_sample_of_a_batch_is_named_whatever_thread_finds_one(tmp_path):
    frames = [FRAME] * 3000
    for row in (777, 778, 2000, 2999):
        frames[row] = FRAME[:-10] + bytes(10)
    dataset = frames_as_dataset(tmp_path / "ds", frames, [len(DATA)] * 3000)

    for read in (lambda: dataset[:], lambda: dataset.take_jagged(slice(None)), lambda: list(dataset)):
        with pytest.raises(CorruptDatasetError, match="sample 777 "):
            read()
    assert list(itertools.islice(dataset, 777)) == [DATA] * 777


@given(st.data())
@settings(max_examples=80)
def test_any_changed_bytes_of_a_frame_raise_or_give_as_many_bytes(tmp_path_factory, data):
    frame = bytearray(FRAME)
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, 60) | st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    dataset = frames_as_dataset(tmp_path_factory.mktemp("flip") / "ds", [bytes(frame)], [len(DATA)])

    for read in (lambda: dataset[0], lambda: dataset.take([0])[0], lambda: next(iter(dataset))):
        try:
            assert len(read()) == len(DATA)
        except CorruptDatasetError as error:
            assert "sample 0" in str(error)


def test_invalid_utf8_is_named(tmp_path):
    bad = zstandard.ZstdCompressor().compress(b"abc\xff")
    dataset = StringsMmap.from_strings(tmp_path / "ds", [], zstd_level=3)
    parts = (bad, np.uint64(len(bad)).tobytes(), np.uint32(4).tobytes())
    dataset._state.dataset.commit(lambda columns: (columns, parts), 1)
    dataset.refresh()

    for read in (lambda: dataset[0], lambda: dataset[:], lambda: list(dataset)):
        with pytest.raises(CorruptDatasetError, match="sample 0: expected UTF-8, found an error at byte 3"):
            read()


def test_missing_or_short_sizes_are_refused(texts):
    sizes = file_of(texts.path, "sizes")
    os.truncate(sizes, 4 * len(texts) - 1)
    with pytest.raises(CorruptDatasetError, match="sizes"):
        StringsMmap(texts.path)
    sizes.unlink()
    with pytest.raises(CorruptDatasetError, match="sizes"):
        StringsMmap(texts.path)


@pytest.mark.parametrize(
    "codec_",
    [
        None,
        {},
        {"name": "lzma", "level": 3, "dictionary_size": None, "dictionary": None},
        {"name": "zstd", "level": True, "dictionary_size": None, "dictionary": None},
        {"name": "zstd", "level": 99, "dictionary_size": None, "dictionary": None},
        {"name": "zstd", "level": 3, "dictionary_size": None, "dictionary": "YWJj"},
        {"name": "zstd", "level": 3, "dictionary_size": 256, "dictionary": "no base64!"},
        {"name": "zstd", "level": 3, "dictionary_size": 256, "dictionary": ""},
        {"name": "zstd", "level": 3, "dictionary_size": 1 << 40, "dictionary": None},
        {"name": "zstd", "level": 3, "dictionary_size": 256, "dictionary": None, "more": 1},
    ],
)
def test_codec_that_the_meta_cannot_hold_is_refused(texts, codec_):
    meta = texts._state.seen.meta
    encoded = meta.encode().decode()
    document = json.loads(encoded)
    document["columns"][0]["codec"] = codec_

    with pytest.raises(CorruptDatasetError, match="meta: column"):
        decode_meta(json.dumps(document).encode(), "meta")


@pytest.mark.parametrize("most", [256, 4 << 20])
def test_codec_at_the_limits_of_dictionaries_is_read(texts, most):
    meta = texts._state.seen.meta
    document = json.loads(meta.encode())
    document["columns"][0]["codec"] = {"name": "zstd", "level": 3, "dictionary_size": most, "dictionary": None}

    assert decode_meta(json.dumps(document).encode(), "meta").columns[0].type.codec.dictionary_size == most


DAMAGED_DICTIONARY = b"\x37\xa4\x30\xec" + bytes(300)  # the magic number without tables


def test_damaged_dictionary_is_damage_of_the_dataset(texts):
    """A bug once: a bare ValueError, which named a library instead of the dataset."""
    meta = json.loads((texts.path / META).read_bytes())
    encoded = base64.b64encode(DAMAGED_DICTIONARY).decode()
    meta["columns"][0]["codec"] |= {"dictionary_size": 4096, "dictionary": encoded}
    replace_meta(texts.path, json.dumps(meta).encode())

    with pytest.raises(
        CorruptDatasetError, match=r"ds: codec: libzstd refuses it .*dictionary is damaged.*restore the dataset"
    ):
        StringsMmap(texts.path)


def test_damaged_dictionary_of_0x_is_damage_of_the_dataset(tmp_path):
    path = shutil.copytree(GOLDEN / "0.9.0-strings-zstd-dictionary", tmp_path / "ds")
    (dictionary,) = path.glob("*dict*")
    dictionary.write_bytes(DAMAGED_DICTIONARY)

    with pytest.raises(CorruptDatasetError, match="ds: codec: libzstd refuses it .*dictionary is damaged"):
        StringsMmap(path)


def test_too_large_sample_is_refused_when_it_is_written():
    message = f"sample 5 has {2**31} bytes where at most {LIMIT} can be compressed"
    with mmap.mmap(-1, 2**31) as untouched, pytest.raises(ValueError, match=message):
        codec.opened(Zstd(3), "ds").encode(untouched, np.uint64(2**31).tobytes(), "ds", 5)


# ---- directories of 0.x


@pytest.mark.parametrize("name", ["0.9.0-strings-zstd", "0.9.0-strings-zstd-dictionary"])
def test_frames_of_0x_are_read_by_the_sizes_in_them(name):
    from mmap_ninja.legacy.read import read_layout  # noqa: PLC0415 - only the kernel's part is tested here

    layout = read_layout(GOLDEN / name)
    expected = json.loads((GOLDEN / "expected.json").read_text())[name]["samples"]
    opened = codec.opened(Zstd(layout.compression.level, None, layout.compression.dictionary), name)
    found = {"data": layout.payload, "starts": layout.starts, "ends": layout.ends}
    parts = {role: (files.open_read(GOLDEN / name / file.name), file.size_bytes) for role, file in found.items()}
    wrong = codec.opened(Zstd(3), name)
    column, wrong_column = (_kernel.Column("text", name, layout.rows, parts, codec=of) for of in (opened, wrong))

    assert list(column) == expected == column.take(list(range(len(expected))))
    assert column.sizes().tolist() == [len(text.encode()) for text in expected]
    assert column.find(expected[-1].encode(), 0, len(expected)) == expected.index(expected[-1])
    if layout.compression.dictionary:
        with pytest.raises(CorruptDatasetError, match="sample 0 cannot be decompressed"):
            wrong_column.take([0])
