"""Builds: what the from_* constructors do with sources, and with an existing dataset at the path."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import mmap_ninja as mn
from mmap_ninja import (
    ArrayMmap,
    BytesMmap,
    IncompleteDatasetWarning,
    LockTimeoutError,
    NotADatasetError,
    RecordsMmap,
    StaleHandleError,
    StringsMmap,
)

OLD = ["old 0", "old 1"]
NEW = [f"new {i}" for i in range(10)]


def failing(samples, error, after):
    """The first samples, then an error."""
    yield from samples[:after]
    raise error


def start_build(path, after=7, **options):
    """A build that is interrupted by its source after `after` samples."""
    with pytest.raises(RuntimeError, match="the disk of the source died"):
        StringsMmap.from_generator(
            path, failing(NEW, RuntimeError("the disk of the source died"), after), batch_size=3, **options
        )


def generations(path):
    """The generation numbers of the files in a directory."""
    return {int(name.split("-")[1].split(".")[0]) for name in os.listdir(path) if "-" in name}


@pytest.mark.parametrize("samples", [[], [""], ["", ""], NEW])
@pytest.mark.parametrize("make", [iter, list, tuple])
def test_from_generator_takes_any_iterable(tmp_path, samples, make):
    dataset = StringsMmap.from_generator(tmp_path / "deep" / "er" / "ds", make(samples), batch_size=4)

    assert list(dataset) == samples
    assert dataset.complete
    assert list(StringsMmap(tmp_path / "deep" / "er" / "ds")) == samples


@pytest.mark.parametrize("if_exists", ["replace", "append", "resume", "reuse"])
def test_dataset_is_opened_where_it_was_built_if_the_source_changes_the_working_directory(
    tmp_path, monkeypatch, if_exists
):
    monkeypatch.chdir(tmp_path)

    def source():
        yield from NEW[:5]
        os.chdir("/")
        yield from NEW[5:]

    dataset = StringsMmap.from_generator("ds", source(), batch_size=4, if_exists=if_exists)

    assert list(dataset) == NEW
    assert dataset.path == tmp_path / "ds"


def test_error_in_the_source_keeps_finished_batches(tmp_path):
    start_build(tmp_path / "ds", after=7)

    with pytest.warns(IncompleteDatasetWarning, match="shows the 6 samples committed so far"):
        dataset = StringsMmap(tmp_path / "ds")
    assert list(dataset) == NEW[:6]
    assert not dataset.complete
    assert repr(dataset).endswith("6 samples, 30 bytes, incomplete)")


@pytest.mark.parametrize("after", range(11))
def test_resume_continues_from_any_point(tmp_path, after):
    start_build(tmp_path / "ds", after=after)
    seen = []

    def source():
        for sample in NEW:
            seen.append(sample)
            yield sample

    dataset = StringsMmap.from_generator(tmp_path / "ds", source(), batch_size=3, if_exists="resume", verbose=True)

    assert list(dataset) == NEW
    assert dataset.complete
    assert seen == NEW


def test_resume_of_a_finished_dataset_reads_nothing(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", OLD)

    dataset = StringsMmap.from_generator(tmp_path / "ds", failing(NEW, AssertionError(), 0), if_exists="resume")

    assert list(dataset) == OLD


def resumed_when_finished(path, source):
    """What a build of a longer source does to a finished dataset of `OLD`."""
    match source:
        case "list":
            return StringsMmap.from_strings(path, [*OLD, "more"], if_exists="resume")
        case "iterator":
            return StringsMmap.from_generator(path, iter([*OLD, "more"]), total=3, if_exists="resume")
        case "indexable":
            return StringsMmap.from_indexable(path, [*OLD, "more"], if_exists="resume")
        case "workers":
            return StringsMmap.from_indexable(path, [*OLD, "more"], n_jobs=2, if_exists="resume")
        case "function":
            return StringsMmap.from_indexable(path, [*OLD, "more"].__getitem__, if_exists="resume")
        case "function that fails":
            return StringsMmap.from_indexable(path, {0: OLD[0], 1: OLD[1]}.__getitem__, if_exists="resume")
        case "table":
            return StringsMmap.from_arrow(path, pa.table({"text": [*OLD, "more"]}), if_exists="resume")


@pytest.mark.parametrize(
    "source", ["list", "iterator", "indexable", "workers", "function", "function that fails", "table"]
)
def test_resume_of_a_finished_dataset_with_a_longer_source_warns(tmp_path, source):
    """A bug once: the samples that the source had gained were neither stored nor missed."""
    StringsMmap.from_strings(tmp_path / "ds", OLD)

    with pytest.warns(
        UserWarning, match="ds: the source has (at least )?3 samples, but the build ended with 2"
    ) as warned:
        dataset = resumed_when_finished(tmp_path / "ds", source)

    assert list(dataset) == OLD
    assert [warning.filename for warning in warned] == [__file__]


def test_resume_of_a_finished_dataset_with_no_more_samples_does_not_warn(tmp_path):
    columns = {"n": np.arange(5)}
    RecordsMmap.from_columns(tmp_path / "columns", columns)
    ArrayMmap.from_ndarray(tmp_path / "rows", np.arange(5))
    StringsMmap.from_indexable(tmp_path / "texts", WithoutLength(IndexError()))

    for count in (5, 3):
        few = {"n": np.arange(count)}
        assert len(RecordsMmap.from_columns(tmp_path / "columns", few, if_exists="resume")) == 5
        assert len(ArrayMmap.from_ndarray(tmp_path / "rows", np.arange(count), if_exists="resume")) == 5
        assert len(StringsMmap.from_strings(tmp_path / "texts", NEW[:count], if_exists="resume")) == 5
    assert len(StringsMmap.from_indexable(tmp_path / "texts", WithoutLength(IndexError()), if_exists="resume")) == 5
    assert len(RecordsMmap.create(tmp_path / "columns", {"n": mn.Scalar("i8")}, if_exists="resume")) == 5


def test_interrupt_while_a_source_is_asked_for_more_is_raised(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", NEW[:5])

    with pytest.raises(KeyboardInterrupt):
        StringsMmap.from_indexable(tmp_path / "ds", WithoutLength(KeyboardInterrupt()), if_exists="resume")


def test_resume_with_another_source_is_refused(tmp_path):
    start_build(tmp_path / "ds")

    with pytest.raises(ValueError, match="sample 5 of the source is 'other 5', the stored one is 'new 5'"):
        StringsMmap.from_generator(tmp_path / "ds", [f"other {i}" for i in range(9)], if_exists="resume")


def test_resume_with_a_shorter_source_is_refused(tmp_path):
    start_build(tmp_path / "ds")

    for source in (NEW[:5], []):
        with pytest.raises(ValueError, match="the source has fewer than the 6 stored samples"):
            StringsMmap.from_generator(tmp_path / "ds", source, if_exists="resume")


def test_resume_of_an_indexable_starts_at_the_first_missing_sample(tmp_path):
    start_build(tmp_path / "ds")
    asked = []

    class Source:
        def __len__(self):
            return len(NEW)

        def __getitem__(self, index):
            asked.append(index)
            return NEW[index]

    dataset = StringsMmap.from_indexable(tmp_path / "ds", Source(), 3, if_exists="resume")

    assert list(dataset) == NEW
    assert asked == [5, 6, 7, 8, 9]


def test_replace_keeps_old_data_until_its_end(tmp_path):
    reader = StringsMmap.from_strings(tmp_path / "ds", OLD)
    seen = []

    def source():
        for sample in NEW:
            seen.append(list(StringsMmap(tmp_path / "ds")))
            yield sample

    StringsMmap.from_generator(tmp_path / "ds", source(), batch_size=3)

    assert seen == [OLD] * len(NEW)
    assert list(reader) == OLD
    reader.refresh()
    assert list(reader) == NEW


def test_replace_leaves_one_generation(tmp_path):
    for samples in (OLD, NEW, OLD):
        StringsMmap.from_strings(tmp_path / "ds", samples)

    assert len(generations(tmp_path / "ds")) == 1
    assert "BUILD" not in os.listdir(tmp_path / "ds")


def test_interrupted_replace_can_be_resumed_or_dropped(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", OLD)

    start_build(tmp_path / "ds")
    assert list(StringsMmap(tmp_path / "ds")) == OLD
    assert list(StringsMmap.from_generator(tmp_path / "ds", NEW, batch_size=3, if_exists="resume")) == NEW
    start_build(tmp_path / "ds")
    assert list(StringsMmap.from_generator(tmp_path / "ds", OLD, batch_size=3)) == OLD

    assert len(generations(tmp_path / "ds")) == 1


def test_replace_may_change_the_kind(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", OLD)

    BytesMmap.from_bytes(tmp_path / "ds", [b"bytes"])

    assert list(BytesMmap(tmp_path / "ds")) == [b"bytes"]
    with pytest.raises(TypeError, match="expected a dataset of kind 'strings', found 'bytes'"):
        StringsMmap(tmp_path / "ds")


def test_second_replacing_build_at_once_is_refused(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", OLD)

    def source():
        yield NEW[0]
        with pytest.raises(LockTimeoutError, match=f"BUILD: process {os.getpid()} .* is building this dataset now"):
            StringsMmap.from_strings(tmp_path / "ds", ["other"])
        yield from NEW[1:]

    assert list(StringsMmap.from_generator(tmp_path / "ds", source(), batch_size=1)) == NEW


def exchange(path, other):
    """Put another dataset at the path."""
    os.rename(path, path.with_name("moved"))
    os.rename(other, path)


def restore(path, other):
    """Copy another dataset over the one at the path, file by file."""
    for name in os.listdir(other):
        shutil.copyfile(other / name, path / name)


@pytest.mark.parametrize(
    ("replace", "message"),
    [(exchange, "moved, deleted or replaced by another one"), (restore, "was replaced during this build")],
)
def test_first_build_in_whose_place_another_dataset_is_put_raises(tmp_path, replace, message):
    StringsMmap.from_strings(tmp_path / "other", OLD).close()

    def source():
        yield NEW[0]
        yield NEW[1]
        replace(tmp_path / "ds", tmp_path / "other")
        yield NEW[2]

    with pytest.raises(StaleHandleError, match=message):
        StringsMmap.from_generator(tmp_path / "ds", source(), batch_size=1)

    assert list(StringsMmap(tmp_path / "ds")) == OLD


def test_error_refuses_an_existing_dataset(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", OLD, if_exists="error")

    with pytest.raises(FileExistsError, match="a dataset already exists"):
        StringsMmap.from_strings(tmp_path / "ds", NEW, if_exists="error")

    assert list(StringsMmap(tmp_path / "ds")) == OLD


def test_append_adds_to_an_existing_dataset(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", OLD, if_exists="append")

    dataset = StringsMmap.from_strings(tmp_path / "ds", NEW, if_exists="append")

    assert list(dataset) == OLD + NEW
    with pytest.raises(TypeError, match="expected a dataset of kind 'bytes', found 'strings'"):
        BytesMmap.from_bytes(tmp_path / "ds", [b"x"], if_exists="append")


@pytest.mark.parametrize("durability", [None, "process", "machine"])
def test_every_durability_stores_the_same(tmp_path, durability):
    for _ in range(2):
        dataset = StringsMmap.from_generator(tmp_path / "ds", NEW, batch_size=4, durability=durability)

    assert list(dataset) == NEW


def test_directory_with_foreign_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(NotADatasetError, match="holds files that do not belong to a dataset: \\['notes.txt'\\]"):
        StringsMmap.from_strings(tmp_path, OLD)

    assert os.listdir(tmp_path) == ["notes.txt"]


def test_replace_of_a_dataset_with_foreign_files_is_refused(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", OLD)
    (tmp_path / "ds" / "notes.txt").write_text("mine")

    with pytest.raises(NotADatasetError, match="notes.txt"):
        StringsMmap.from_strings(tmp_path / "ds", NEW)

    assert list(StringsMmap(tmp_path / "ds")) == OLD


def test_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("text")

    with pytest.raises(NotADatasetError, match="is a file"):
        StringsMmap.from_strings(tmp_path / "file", OLD)
    with pytest.raises(NotADatasetError, match="is a file"):
        StringsMmap.from_strings(tmp_path / "file" / "ds", OLD)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size 0: expected at least 1"),
        ({"batch_size": 1.5}, TypeError, "integer"),
        ({"if_exists": "overwrite"}, ValueError, "if_exists 'overwrite' is unknown"),
        ({"durability": "none"}, ValueError, "durability 'none' is unknown"),
        ({"mode": "w+"}, ValueError, "mode 'w\\+' is unknown"),
        ({"metadata": {"a": float("nan")}}, ValueError, "metadata: .* values that JSON can hold"),
        ({"metadata": {"a": object()}}, TypeError, "metadata: .* values that JSON can hold"),
        ({"metadata": {1: 2}}, TypeError, "JSON would change it"),
        ({"metadata": [1]}, TypeError, "expected a dict, got list"),
    ],
)
def test_bad_option_touches_nothing(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        StringsMmap.from_generator(tmp_path / "ds", NEW, **options)

    assert os.listdir(tmp_path) == []


class WithLength:
    def __init__(self, error, at):
        self.error, self.at = error, at

    def __len__(self):
        return len(NEW)

    def __getitem__(self, index):
        if index == self.at:
            raise self.error
        return NEW[index]


class WithoutLength:
    def __init__(self, error):
        self.error = error

    def __getitem__(self, index):
        if index >= 5:
            raise self.error
        return NEW[index]


@pytest.mark.parametrize("error", [IndexError("mine"), KeyError("mine"), StopIteration("mine"), OSError("mine")])
def test_errors_of_an_indexable_with_length_propagate(tmp_path, error):
    with pytest.raises((type(error), RuntimeError)):
        StringsMmap.from_indexable(tmp_path / "ds", WithLength(error, 7), batch_size=2)

    with pytest.warns(IncompleteDatasetWarning):
        assert list(StringsMmap(tmp_path / "ds")) == NEW[:6]


def test_indexable_without_length_ends_with_index_error_only(tmp_path):
    assert list(StringsMmap.from_indexable(tmp_path / "a", WithoutLength(IndexError()), 2)) == NEW[:5]
    with pytest.raises(KeyError):
        StringsMmap.from_indexable(tmp_path / "b", WithoutLength(KeyError()), 2)


def test_progress_bar_knows_total_and_rate(tmp_path, capsys):
    StringsMmap.from_generator(tmp_path / "ds", iter(NEW), batch_size=3, verbose=True, total=10)

    assert "10/10" in capsys.readouterr().err
    StringsMmap.from_generator(tmp_path / "ds", iter(NEW), batch_size=3)
    assert capsys.readouterr().err == ""


def test_other_keys_and_jobs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="other names only serve to read directories of 0.x"):
        StringsMmap.from_strings(tmp_path / "ds", OLD, None, "s", "e")
    with pytest.raises(ValueError, match="n_jobs 0: expected at least 1"):
        StringsMmap.from_indexable(tmp_path / "ds", OLD, 2, 0)


@pytest.mark.parametrize("if_exists", ["append", "resume"])
def test_other_metadata_than_the_datasets_is_refused(tmp_path, if_exists):
    StringsMmap.from_strings(tmp_path / "ds", OLD, metadata={"a": 1})

    with pytest.raises(ValueError, match="metadata: got {'a': 2}, but the dataset has {'a': 1}"):
        StringsMmap.from_strings(tmp_path / "ds", NEW, if_exists=if_exists, metadata={"a": 2})

    assert list(StringsMmap.from_strings(tmp_path / "ds", OLD, if_exists="resume", metadata={"a": 1})) == OLD


def test_source_that_is_not_iterable_leaves_nothing(tmp_path):
    with pytest.raises(TypeError, match="samples: expected several samples, got a function; call it"):
        StringsMmap.from_generator(tmp_path / "ds", lambda: iter(NEW))

    assert os.listdir(tmp_path) == []


def test_warning_points_at_the_line_that_opens(tmp_path):
    start_build(tmp_path / "ds")

    with pytest.warns(IncompleteDatasetWarning) as warned:
        StringsMmap(tmp_path / "ds")
        mn.open(tmp_path / "ds")

    assert {warning.filename for warning in warned} == {__file__}


def test_append_to_a_new_path_makes_a_dataset_that_is_complete_from_the_start(tmp_path):
    """A bug once: if its source failed, the dataset stayed incomplete whatever was done, and resume raised."""
    start_build(tmp_path / "ds", if_exists="append")

    begun = StringsMmap(tmp_path / "ds")
    dataset = StringsMmap.from_generator(tmp_path / "ds", NEW[6:], if_exists="append")

    assert (begun.complete, list(begun)) == (True, NEW[:6])
    assert (dataset.complete, list(dataset)) == (True, NEW)


def test_appends_to_a_new_path_at_once_store_all_samples(tmp_path):
    def source():
        yield from NEW[:4]
        StringsMmap.from_strings(tmp_path / "ds", OLD, if_exists="append").append("by a handle")
        yield from NEW[4:]

    dataset = StringsMmap.from_generator(tmp_path / "ds", source(), batch_size=2, if_exists="append")

    assert list(dataset) == [*NEW[:4], *OLD, "by a handle", *NEW[4:]]


def test_append_to_an_interrupted_build_leaves_it_interrupted(tmp_path):
    start_build(tmp_path / "ds")

    with pytest.warns(IncompleteDatasetWarning):
        dataset = StringsMmap.from_generator(tmp_path / "ds", ["more"], if_exists="append")

    assert not dataset.complete


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell what is open")
def test_replacing_build_does_not_keep_the_old_files_open(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", ["old"])
    opened = set()

    def texts():
        yield "new"
        opened.update(map(os.path.realpath, Path("/proc/self/fd").iterdir()))

    StringsMmap.from_generator(tmp_path / "ds", texts(), if_exists="replace")

    build, replaced = (os.path.realpath(tmp_path / "ds") + name for name in ("/BUILD", "/COMMIT"))
    assert (build in opened, replaced in opened) == (True, False)
