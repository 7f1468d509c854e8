"""The page of frameworks: its recipes with the packages themselves, and its table."""

import contextlib
import importlib.metadata
import io
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

import mmap_ninja as mn
from support.pages import ROOT, blocks_of

PAGE = "docs/guides/frameworks.md"
COUNT = 50


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Runs the block of a page that uses a package; gives its names and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(package):
        pytest.importorskip(package, exc_type=ImportError)
        first, *others = blocks_of(PAGE)
        (block,) = (block for block in others if f" {package}" in block)
        names, printed = {}, io.StringIO()
        exec(first, names)  # noqa: S102 - our own page
        with contextlib.redirect_stdout(printed):
            exec(block, names)  # noqa: S102
        assert printed.getvalue().splitlines() == re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
        return names

    return run


def loader_of(recipe, **options):
    return mn.Loader(recipe["train"], batch_size=8, shuffle=True, **options)


def labels(batches):
    return [int(label) for batch in batches for label in np.asarray(batch)]


def epochs_of(recipe, count=2, **options):
    """The labels of the first epochs, without the framework."""
    loader = loader_of(recipe, **options)
    return [labels(batch["label"] for batch in loader) for _ in range(count)]


def test_spdl_keeps_the_order_and_goes_on_where_it_stopped(recipe):
    names = recipe("spdl.pipeline")
    loader = loader_of(names)
    expected = epochs_of(names)

    def taken(loader, count=None):
        pipeline = names["epoch_of"](loader)
        with pipeline.auto_stop():
            pairs = list(itertools.islice(pipeline, count))
        assert all((batch["image"] == 1).all() for batch, _ in pairs)
        return labels(batch["label"] for batch, _ in pairs), pairs[-1][1]

    first, state = taken(loader, 2)
    again = loader_of(names)
    again.load_state_dict(json.loads(json.dumps(state)))
    second, state = taken(again, 3)
    last = loader_of(names)
    last.load_state_dict(state)
    third, state = taken(last)

    assert first + second + third == expected[0]
    assert taken(last)[0] == expected[1]


@pytest.mark.filterwarnings("default")  # those of TensorFlow and Keras
def test_tf_data_gives_the_batches_of_a_loader(recipe):
    names = recipe("tensorflow")
    stream = names["stream_of"](loader_of(names))

    epochs = []
    for _ in range(2):
        pairs = list(stream)
        epochs.append(labels(batch["label"].numpy() for batch, _ in pairs))
    assert epochs == epochs_of(names)
    batch, state = pairs[2]
    assert batch["image"].shape == (8, 8, 8, 3)
    assert batch["text"].numpy().tolist() == [b"a"] * 8

    again = loader_of(names)
    again.load_state_dict(json.loads(state.numpy()))
    assert labels(batch["label"].numpy() for batch, _ in names["stream_of"](again)) == epochs[1][24:]


@pytest.mark.filterwarnings("default")
def test_keras_trains_on_a_stream(recipe):
    names = recipe("tensorflow")
    keras = names["tf"].keras
    stream = names["stream_of"](loader_of(names)).map(lambda batch, state: (batch["image"] / 255, batch["label"]))
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile(loss="mse")

    history = model.fit(stream, epochs=2, verbose=0)

    assert len(history.history["loss"]) == 2


def test_dali_gives_the_batches_of_a_loader(recipe):
    names = recipe("nvidia.dali")
    expected = epochs_of(names, drop_last=True)

    loader = loader_of(names, drop_last=True, transform=names["arrays"])
    pipe = names["flipped"](loader)
    epochs = []
    for _ in range(2):
        batches = []
        with contextlib.suppress(StopIteration):
            while True:
                image, label = pipe.run()
                assert image.as_array().shape == (8, 8, 8, 3)
                batches.append(label.as_array())
        epochs.append(labels(batches))
        pipe.reset()
    assert epochs == expected

    again = names["batches"]  # which goes on after 4 steps of epoch 0
    pipe = names["flipped"](again)
    assert labels(pipe.run()[1].as_array() for _ in range(2)) == expected[0][32:]


ROWS = re.findall(r"^\| .* \| (\S+) (\S+) \| `(\w+)` \|$", (ROOT / PAGE).read_text(), re.MULTILINE)


@pytest.mark.parametrize(("package", "version", "test"), ROWS)
def test_rows_of_the_table_name_a_test_and_the_version_that_it_ran_with(package, version, test):
    files = Path(__file__).parent.glob("test_*.py")
    assert any(f"def {test}(" in file.read_text() for file in files)

    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        assert f"{importlib.metadata.version(package)}.".startswith(f"{version}.")


def test_table_was_read():
    assert len(ROWS) > 10
