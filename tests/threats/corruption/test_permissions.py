"""Directories without write permission."""

import os
import pickle

import pytest

from mmap_ninja import ReadOnlyError, StringsMmap
from support.damage import SAMPLES
from support.faults import as_nobody


@pytest.fixture
def read_only_path(path):
    """A dataset without write permission."""
    for name in os.listdir(path):
        os.chmod(path / name, 0o444)
    os.chmod(path, 0o555)
    for parent in path.parents:  # pytest's directories are not accessible for others
        if parent.stat().st_mode & 0o001:
            break
        os.chmod(parent, parent.stat().st_mode | 0o011)
    yield path
    os.chmod(path, 0o755)


def test_read_only_directory_is_read_and_append_explains_the_error(read_only_path):
    def use():
        texts = StringsMmap(read_only_path)
        copy = pickle.loads(pickle.dumps(texts))
        with pytest.raises(ReadOnlyError) as refused:
            texts.append("lost")
        texts.refresh()
        return list(texts), list(copy), str(refused.value)

    found, copied, message = as_nobody(use)

    assert (found, copied) == (SAMPLES, SAMPLES)
    assert "cannot be written (Permission denied); it can still be read: to write, get write permission" in message


def test_complete_dataset_in_a_read_only_directory_is_reused(read_only_path):
    def use():
        return list(StringsMmap.from_generator(read_only_path, iter(()), if_exists="reuse"))

    assert as_nobody(use) == SAMPLES


def test_read_only_directory_refuses_builds_and_keeps_its_files(read_only_path):
    before = sorted(os.listdir(read_only_path))

    def use():
        messages = []
        for if_exists in ("replace", "append"):
            with pytest.raises(ReadOnlyError, match="it can still be read") as refused:
                StringsMmap.from_strings(read_only_path, ["new"], if_exists=if_exists)
            messages.append(str(refused.value))
        return messages

    messages = as_nobody(use)

    assert all("cannot be written" in message for message in messages)
    assert sorted(os.listdir(read_only_path)) == before
    assert list(StringsMmap(read_only_path)) == SAMPLES


def test_missing_path_in_read_only_directory_refuses_the_first_append(read_only_path):
    def use():
        texts = StringsMmap(read_only_path / "new")
        with pytest.raises(ReadOnlyError, match="new: cannot be written") as refused:
            texts.append("lost")
        return len(texts), str(refused.value)

    length, message = as_nobody(use)

    assert length == 0
    assert "Permission denied" in message
