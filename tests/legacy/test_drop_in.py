"""Code for 0.9 as in its documentation: imports, names, positional arguments, results."""

import inspect

import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import RaggedMmap, StringsMmap

IMAGES = [np.full((k + 1, 4, 3), k, np.uint8) for k in range(6)]

# Parameters of 0.9 in their order; any others follow them.
SIGNATURES = {
    "string.StringsMmap": "out_dir mode starts_key ends_key",
    "string.StringsMmap.from_strings": (
        "out_dir strings mode starts_key ends_key verbose zstd_level zstd_train_dictionary_size"
    ),
    "string.StringsMmap.from_generator": "out_dir sample_generator batch_size verbose",
    "string.StringsMmap.extend": "samples verbose",
    "ragged.RaggedMmap": (
        "out_dir wrapper_fn mode starts_key ends_key shapes_key flattened_shapes_key copy_before_wrapper_fn"
    ),
    "ragged.RaggedMmap.from_lists": (
        "out_dir lists dtype mode wrapper_fn starts_key ends_key shapes_key flattened_shapes_key"
    ),
    "ragged.RaggedMmap.from_generator": "out_dir sample_generator batch_size verbose",
    "ragged.RaggedMmap.from_indexable": "out_dir indexable batch_size n_jobs verbose",
    "numpy.from_ndarray": "out_dir arr",
    "numpy.from_generator": "out_dir sample_generator batch_size verbose",
    "numpy.open_existing": "out_dir mode",
    "numpy.extend_dir": "out_dir arr",
    "numpy.extend": "np_mmap arr",
    "numpy.append": "np_mmap arr",
    "generic.open_existing": "out_dir wrapper_fn mode",
    "base.Wrapped": "data wrapper_fn copy_before_wrapper_fn",
    "parallel.make_indexable": "func length",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_parameters_keep_their_names_and_positions(name):
    found = mmap_ninja
    for part in name.split("."):
        found = getattr(found, part)
    parameters = [p for p in inspect.signature(found).parameters.values() if p.name != "self"]

    expected = SIGNATURES[name].split()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional[: len(expected)] == expected


def test_images_through_map_with_a_progress_bar(tmp_path, capsys):
    made = RaggedMmap.from_generator(
        out_dir=tmp_path / "images_mmap", sample_generator=map(np.copy, IMAGES), batch_size=4, verbose=True
    )

    images = RaggedMmap(tmp_path / "images_mmap")
    assert [images[i].tolist() for i in range(len(images))] == [image.tolist() for image in IMAGES]
    assert len(made) == 6
    assert "samples" in capsys.readouterr().err
    images.append(IMAGES[0])
    images.extend(IMAGES[1:3])
    assert len(images) == 9


def test_slices_fill_the_batches_of_a_training_loop(tmp_path):
    images = RaggedMmap.from_lists(tmp_path / "ds", [np.full((2, 2), k) for k in range(5)])

    batch = np.zeros((2, 2, 2), np.float32)
    for j, image in enumerate(images[2 : 2 + 2]):
        batch[j] = image

    assert batch[:, 0, 0].tolist() == [2, 3]
    assert [a.sum() - b.sum() for a, b in zip(images, images, strict=True)] == [0] * 5


def test_wrapper_function_is_called_on_each_sample(tmp_path):
    RaggedMmap.from_lists(tmp_path / "ds", [[1, 2], [3]])

    assert RaggedMmap(tmp_path / "ds", wrapper_fn=np.sum)[0] == 3
    assert RaggedMmap(tmp_path / "ds", np.sum)[1] == 3


def test_texts_in_memory_and_from_a_generator(tmp_path):
    StringsMmap.from_strings(tmp_path / "a", ["first", "second"], verbose=True)
    StringsMmap.from_generator(tmp_path / "b", (text for text in ["first", "second"]), 1024, True)

    for name in "ab":
        texts = StringsMmap(tmp_path / name, mode="rb")
        assert texts[1] == "second"
        assert list(texts) == ["first", "second"]
        assert texts.starts[0] == 0


def test_compressed_texts(tmp_path):
    pytest.importorskip("zstandard")
    texts = [f"text {k} " * 20 for k in range(100)]

    stored = StringsMmap.from_strings(tmp_path / "ds", texts, zstd_level=3)
    stored.append("new")

    assert list(StringsMmap(tmp_path / "ds")) == [*texts, "new"]


def test_arrays_from_a_generator_and_opened_again(tmp_path):
    np_ninja = mmap_ninja.numpy

    memmap = np_ninja.from_generator(
        out_dir=tmp_path / "growable",
        sample_generator=(np.arange(4) + k for k in range(10)),
        batch_size=3,
        verbose=True,
    )
    np_ninja.append(memmap, np.arange(4))

    reopened = np_ninja.open_existing(tmp_path / "growable")
    assert reopened[9].tolist() == [9, 10, 11, 12]
    assert reopened.shape == (11, 4)
    assert isinstance(mmap_ninja.open_existing(tmp_path / "growable"), np.memmap)


@pytest.mark.parametrize("n_jobs", [None, 1, 2])
def test_samples_by_index_or_by_a_function(tmp_path, n_jobs):
    class WithoutLength:
        def __len__(self):
            raise TypeError

        def __getitem__(self, index):
            if index >= 5:
                raise IndexError(index)
            return np.ones(12) * index

    for source in (WithoutLength(), WithoutLength().__getitem__, [np.ones(12) * k for k in range(5)]):
        stored = RaggedMmap.from_indexable(tmp_path / "ds", source, 4, n_jobs=n_jobs, verbose=True)
        assert [int(sample[0]) for sample in stored] == [0, 1, 2, 3, 4]
