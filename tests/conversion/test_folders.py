"""Folders of images, and datasets."""

import pickle

import numpy as np
import pytest

import mmap_ninja as mn
from support.golden import GOLDEN, content


def same(one, other):
    """Whether two datasets have the same samples, of the same types."""
    return pickle.dumps(list(map(bare, one))) == pickle.dumps(list(map(bare, other)))


def bare(sample):
    if isinstance(sample, dict):
        return {name: bare(value) for name, value in sample.items()}
    return (sample.dtype.str, sample.shape, sample.tobytes()) if hasattr(sample, "dtype") else sample


def test_images_have_the_numbers_of_their_classes(tmp_path):
    for name in ("dog/b.jpg", "cat/a.PNG", "cat/more/c.jpeg", "cat/notes.txt", "dog/.DS_Store"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(name.encode())

    made = mn.convert(tmp_path / "pets", tmp_path / "out")

    assert list(made) == [
        {"image": b"cat/a.PNG", "path": "cat/a.PNG", "label": 0},
        {"image": b"cat/more/c.jpeg", "path": "cat/more/c.jpeg", "label": 0},
        {"image": b"dog/b.jpg", "path": "dog/b.jpg", "label": 1},
    ]
    assert made["label"].dtype == np.int64
    assert made.metadata == {"classes": ["cat", "dog"]}


def test_images_without_a_class(tmp_path):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "a.png").write_bytes(b"a")

    assert list(mn.convert(tmp_path / "pets", tmp_path / "out")) == [{"image": b"a", "path": "a.png"}]

    (tmp_path / "pets" / "cat").mkdir()
    (tmp_path / "pets" / "cat" / "b.png").write_bytes(b"b")
    assert mn.convert(tmp_path / "pets", tmp_path / "mixed").take([0, 1])["label"].tolist() == [None, 0]


def test_images_of_other_classes_are_not_appended(tmp_path):
    for folder, name in (("one", "cat"), ("two", "dog")):
        (tmp_path / folder / name).mkdir(parents=True)
        (tmp_path / folder / name / "a.png").write_bytes(b"a")
    mn.convert(tmp_path / "one", tmp_path / "out")

    with pytest.raises(ValueError, match="metadata"):
        mn.convert(tmp_path / "two", tmp_path / "out", if_exists="append")


@pytest.mark.parametrize("name", ["0.2.0-strings", "0.9.0-array-c", "0.9.0-ragged-mixed", "0.9.0-strings-zstd"])
def test_dataset_of_0x_is_copied_and_stays(copy, tmp_path, name):
    source = copy(name)
    before = content(source)

    made = mn.convert(source, tmp_path / "out")

    assert same(made, mn.open(source))
    assert (tmp_path / "out" / "COMMIT").exists()
    assert content(source) == before


@pytest.mark.parametrize("name", ["format-1-records", "format-1-array", "format-1-strings"])
def test_dataset_is_copied(tmp_path, name):
    made = mn.convert(GOLDEN / name, tmp_path / "out")

    assert same(made, mn.open(GOLDEN / name))
    assert made.metadata == mn.open(GOLDEN / name).metadata


def test_dataset_is_compressed_on_the_way(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "source", ["a" * 1000]).close()

    made = mn.convert(tmp_path / "source", tmp_path / "out", codec="zstd")

    assert list(made) == ["a" * 1000]
    assert made.nbytes < 100
