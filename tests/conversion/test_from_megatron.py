import pickle
import struct

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja.conversion.find import find
from mmap_ninja.conversion.source import Wanted

CODES = {"u1": 1, "i1": 2, "i2": 3, "i4": 4, "i8": 5, "f8": 6, "f4": 7, "u2": 8}


def make(prefix, sequences, documents=None, dtype="i4", tail=b""):
    """What the IndexedDatasetBuilder of Megatron-LM writes."""
    arrays = [np.array(sequence, dtype) for sequence in sequences]
    lengths = np.array([len(array) for array in arrays], "<i4")
    starts = np.concatenate([[0], np.cumsum([array.nbytes for array in arrays])])[: len(arrays)].astype("<i8")
    bounds = np.array(range(len(arrays) + 1) if documents is None else documents, "<i8")
    header = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, CODES[dtype], len(arrays), len(bounds))
    prefix.with_suffix(".bin").write_bytes(b"".join(array.tobytes() for array in arrays))
    prefix.with_suffix(".idx").write_bytes(header + lengths.tobytes() + starts.tobytes() + bounds.tobytes() + tail)
    return prefix.with_suffix(".idx")


SEQUENCES = [[5, 2, 7], [], [70_000], [1, 2]]


@pytest.mark.parametrize("dtype", ["i4", "i8"])
def test_documents_are_ragged_samples(tmp_path, dtype):
    ds = mn.convert(make(tmp_path / "corpus", SEQUENCES, dtype=dtype), tmp_path / "out")

    assert type(ds) is mn.RaggedMmap
    assert ds[0].dtype == dtype
    assert [sample.tolist() for sample in ds] == SEQUENCES


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "i8"])
def test_tokens_keep_their_dtype(tmp_path, dtype):
    ds = mn.convert(make(tmp_path / "corpus", [[5, 2, 7], [], [1]], dtype=dtype), tmp_path / "out")

    assert ds.dtype == dtype
    assert [sample.tolist() for sample in ds] == [[5, 2, 7], [], [1]]


def test_either_file_or_the_folder_of_both(tmp_path):
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in" / "corpus", [[1], [2, 3]], dtype="u2")

    for number, source in enumerate((path, path.with_suffix(".bin"), path.parent)):
        assert [sample.tolist() for sample in mn.convert(source, tmp_path / f"out{number}")] == [[1], [2, 3]]


def test_documents_of_several_sequences_are_kept(tmp_path):
    path = make(tmp_path / "corpus", SEQUENCES, documents=[0, 0, 3, 4])

    ds = mn.convert(path, tmp_path / "out")
    tokens = mn.convert(path, tmp_path / "tokens", kind="ragged")

    assert [(sample["document"], sample["tokens"].tolist()) for sample in ds] == [
        (1, [5, 2, 7]), (1, []), (1, [70_000]), (2, [1, 2]),
    ]  # fmt: skip
    assert [sample.tolist() for sample in tokens] == SEQUENCES


def test_an_empty_corpus(tmp_path):
    assert len(mn.convert(make(tmp_path / "corpus", []), tmp_path / "out")) == 0


def damaged(path, at, value):
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: damaged(path, 0, b"X"), "corpus.idx: expected an index of Megatron-LM"),
        (lambda path: damaged(path, 0, b"TNTIDX\0\0"), "corpus.idx: is an index of the old formats"),
        (lambda path: damaged(path, 9, b"\2"), "corpus.idx: expected version 1 .*, found version 2, 4"),
        (lambda path: damaged(path, 17, b"\x0b"), "corpus.idx: expected version 1 .*, found version 1, 11"),
        (
            lambda path: damaged(path, 34, b"\xff\xff\xff\xff"),
            "corpus.idx: a sequence from 0 on is in no place",
        ),
        (lambda path: damaged(path, 34, b"\xff"), "corpus.bin: expected the 1020 bytes that corpus.idx describes, fou"),
        (lambda path: damaged(path, 34 + 4 * 12, b"\1"), "corpus.idx: expected bounds of documents that rise from 0 "),
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), "corpus.idx: expected 122 bytes .*, found 114; copy"),
        (lambda path: path.write_bytes(b""), "corpus.idx: expected an index of Megatron-LM"),
        (lambda path: path.with_suffix(".bin").write_bytes(bytes(23)), "corpus.bin: expected the 24 bytes .* found 23"),
        (lambda path: path.with_suffix(".bin").write_bytes(bytes(28)), "corpus.bin: expected the 24 bytes .* found 28"),
    ],
)
def test_files_that_contradict_each_other_are_refused(tmp_path, change, message):
    path = make(tmp_path / "corpus", SEQUENCES)

    change(path)

    with pytest.raises(ValueError, match=message):
        mn.convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_half_is_named(tmp_path):
    path = make(tmp_path / "corpus", SEQUENCES)
    path.unlink()

    with pytest.raises(FileNotFoundError, match="corpus.idx: expected it beside corpus.bin"):
        mn.convert(tmp_path / "corpus.bin", tmp_path / "out")


def test_several_pairs_in_a_folder_are_listed(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        make(tmp_path / "in" / name, SEQUENCES)

    with pytest.raises(ValueError, match=r"in: has 2 indices, \['a.idx', 'b.idx'\]; convert one of them"):
        mn.convert(tmp_path / "in", tmp_path / "out")


def test_a_multimodal_corpus_is_refused(tmp_path):
    path = make(tmp_path / "corpus", SEQUENCES, tail=bytes(len(SEQUENCES)))

    with pytest.raises(ValueError, match="corpus.idx: has a mode for each sequence, as multimodal datasets do"):
        mn.convert(path, tmp_path / "out")


def test_workers_map_the_files_themselves(tmp_path):
    sequences = [[n] * (n % 50) for n in range(20_000)]
    found = find(make(tmp_path / "corpus", sequences), Wanted())
    assert found.samples[3].tolist() == [3, 3, 3]

    pickled = pickle.dumps(found.samples)

    assert len(pickled) < 1000
    assert pickle.loads(pickled)[49].tolist() == [49] * 49


def test_an_interrupted_conversion_resumes(tmp_path):
    sequences = [[n] * (n % 5) for n in range(3000)]
    path = make(tmp_path / "corpus", sequences, dtype="u2")

    def ended():
        yield from (np.array(sequence, "u2") for sequence in sequences[:2000])
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        mn.RaggedMmap.from_generator(tmp_path / "out", ended())
    ds = mn.convert(path, tmp_path / "out", if_exists="resume")

    assert [sample.tolist() for sample in ds] == sequences


def test_a_place_beyond_all_numbers_is_refused(tmp_path):
    """The end of such a sequence overflows, and would be before its start."""
    path = tmp_path / "a.idx"
    (tmp_path / "a.bin").write_bytes(bytes(8))
    header = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, 4, 2, 3)
    path.write_bytes(header + struct.pack("<2i2q3q", 2, 2, 0, 2**63 - 4, 0, 1, 2))

    with pytest.raises(ValueError, match="a.idx: a sequence from 0 on is in no place of a.bin"):
        mn.convert(path, tmp_path / "out")
