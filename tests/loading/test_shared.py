"""A shared list reads like the list that it was made from, in every process, and its files go with its maker."""

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import shared_list


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "bc", ""], mn.StringsMmap),
        ([b"a", b""], mn.BytesMmap),
        ([1, 2, 3], mn.ArrayMmap),
        ([1.5, 2.5], mn.ArrayMmap),
        ([[1, 2], [3]], mn.RaggedMmap),
        ([{"x": 1, "y": "a"}, {"x": 2, "y": "b"}], mn.RecordsMmap),
        ([], mn.StringsMmap),
    ],
)
def test_values_come_back(values, kind):
    shared = shared_list(iter(values))

    assert isinstance(shared, kind)
    for read in (shared, pickle.loads(pickle.dumps(shared))):
        assert [sample.tolist() if isinstance(sample, np.ndarray) else sample for sample in read] == values
    with pytest.raises(mn.ReadOnlyError):
        shared.append(values[0] if values else "")


def test_files_go_with_the_list(directory):
    shared = shared_list(["a"])
    assert len(os.listdir(directory)) == 1

    del shared
    gc.collect()

    assert os.listdir(directory) == []


def test_a_path_stays(directory):
    shared = shared_list(["a"], directory / "list")
    del shared
    gc.collect()

    assert mn.open(directory / "list")[:] == ["a"]


def test_a_value_of_another_kind_is_refused_and_leaves_nothing(directory):
    with pytest.raises(TypeError):
        shared_list(["a", 5])

    assert os.listdir(directory) == []


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_and_leave_the_files(directory, method):
    shared = shared_list(["a", "b", "c"])

    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(shared.__getitem__, range(3)) == ["a", "b", "c"]

    assert shared[2] == "c"


def test_a_forked_child_that_drops_the_list_leaves_the_files():
    shared = shared_list(["a"])
    child = os.fork()
    if child == 0:
        del shared
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)

    assert shared.path.exists()


def test_files_go_when_the_maker_exits(directory):
    code = "import mmap_ninja as mn; shared = mn.shared_list(['a']); print(shared.path.exists())"
    environment = os.environ | {"TMPDIR": str(directory)}

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)

    assert output.stdout.strip() == "True"
    assert os.listdir(directory) == []
