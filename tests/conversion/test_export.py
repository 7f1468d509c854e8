"""`export` as a whole: forms, columns, what is exported, and that nothing half-done is left."""

import errno
import os
import stat

import numpy as np
import pyarrow.parquet as pq
import pytest

import mmap_ninja as mn
from mmap_ninja.conversion.forms import FORMS, NAMES
from mmap_ninja.engine import files

RECORDS = [{"text": "good", "stars": 5}, {"text": "so, so", "stars": 3}, {"text": "", "stars": 1}]
OUTS = ["out.parquet", "out.arrow", "out.jsonl", "out.jsonl.gz", "out.csv.zst", "out.tar", "out"]


@pytest.fixture
def records(tmp_path):
    return mn.RecordsMmap.from_generator(tmp_path / "ds", RECORDS)


@pytest.fixture
def folder(tmp_path):
    """A folder to export into, which has nothing else."""
    (tmp_path / "outs").mkdir()
    return tmp_path / "outs"


def shown(folder):
    """The files below a folder, with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- forms


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.parquet", b"PAR1"),
        ("A.PQ", b"PAR1"),
        ("a.arrow", b"ARROW1"),
        ("a.feather", b"ARROW1"),
        ("a.jsonl", b'{"text":"good","stars":5}\n'),
        ("a.ndjson", b'{"text":"good","stars":5}\n'),
        ("a.jsonl.gz", b"\x1f\x8b"),
        ("a.jsonl.zst", b"\x28\xb5\x2f\xfd"),
        ("a.csv", b"text,stars\n"),
        ("a.tsv", b"text\tstars\n"),
        ("a.tar", b"000000.text\0"),
    ],
)
def test_suffix_tells_the_form(records, folder, name, start):
    mn.export(records, folder / name)

    assert (folder / name).read_bytes().startswith(start)
    assert [path.name for path in folder.iterdir()] == [name]


def test_form_can_be_named(records, folder):
    mn.export(records, folder / "data.txt", form="csv")

    assert (folder / "data.txt").read_bytes().startswith(b"text,stars\n")
    assert [form.name for form in FORMS] == list(NAMES)


def test_unknown_forms_raise(records, folder):
    with pytest.raises(
        ValueError, match=r"its suffix '.xlsx' tells no form; expected .parquet, .*name the form, one of"
    ):
        mn.export(records, folder / "a.xlsx")
    with pytest.raises(ValueError, match="form 'xlsx' is unknown"):
        mn.export(records, folder / "a.csv", form="xlsx")
    assert list(folder.iterdir()) == []


def test_missing_parents_are_created(records, tmp_path):
    mn.export(records, tmp_path / "a" / "b" / "c.csv")

    assert (tmp_path / "a" / "b" / "c.csv").exists()


def test_file_has_the_mode_that_a_new_file_has(records, folder):
    mn.export(records, folder / "a.csv")
    (folder / "other").touch()

    assert stat.S_IMODE((folder / "a.csv").stat().st_mode) == stat.S_IMODE((folder / "other").stat().st_mode)


# ---- what is exported


def test_columns_are_chosen_in_the_order_asked_for(records, folder):
    mn.export(records, folder / "a.csv", columns=["stars", "text"])

    assert (folder / "a.csv").read_text().startswith("stars,text\n5,good\n")


def test_columns_that_are_not_there_raise(records, folder):
    with pytest.raises(KeyError, match="has no column 'author'"):
        mn.export(records, folder / "a.csv", columns=["author"])
    with pytest.raises(TypeError, match="expected a list of names"):
        mn.export(records, folder / "a.csv", columns="text")
    with pytest.raises(ValueError, match="samples of this kind have no columns"):
        mn.export(records["text"], folder / "a.csv", columns=["text"])
    assert list(folder.iterdir()) == []


def test_views_columns_and_concatenations_are_written_as_they_read(records, tmp_path, folder):
    wanted = {
        "view": records.select([2, 0]),
        "reversed": records.select(slice(None, None, -1)),
        "columns": records[["stars"]],
        "concat": mn.concat([records, records.select(slice(1))]),
    }

    for name, ds in wanted.items():
        mn.export(ds, folder / f"{name}.parquet")
        assert pq.read_table(folder / f"{name}.parquet").to_pylist() == list(ds), name

    mn.export(records["text"], folder / "a.parquet")
    assert pq.read_table(folder / "a.parquet")["sample"].to_pylist() == list(records["text"])


def test_edits_are_exported(records, folder):
    records[0] = {"text": "better", "stars": 4}
    del records[1]

    mn.export(records, folder / "a.csv")

    assert (folder / "a.csv").read_text() == 'text,stars\nbetter,4\n"",1\n'


def test_snapshot_is_exported_that_the_handle_shows(records, tmp_path, folder):
    mn.RecordsMmap(tmp_path / "ds").append({"text": "later", "stars": 0})

    mn.export(records, folder / "a.jsonl")

    assert len((folder / "a.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("function", "name", "content"),
    [
        (lambda sample: sample["text"], "a.csv", b'sample\ngood\n"so, so"\n""\n'),
        (lambda sample: {"n": len(sample["text"])}, "a.jsonl", b'{"n":4}\n{"n":6}\n{"n":0}\n'),
        (lambda sample: sample["stars"] / 2, "a.tsv", b"sample\n2.5\n1.5\n0.5\n"),
    ],
)
def test_maps_are_exported_as_they_read(records, folder, function, name, content):
    mn.export(records.map(function), folder / name)

    assert shown(folder) == {name: content}


def test_map_of_arrays_becomes_one_array(records, folder):
    mn.export(records.map(lambda sample: np.full((2, 2), sample["stars"], "f4")), folder / "a.npy")

    assert np.load(folder / "a.npy").tolist() == [[[5, 5], [5, 5]], [[3, 3], [3, 3]], [[1, 1], [1, 1]]]


def test_windows_are_exported_as_they_read(tmp_path, folder):
    tokens = mn.RaggedMmap.from_generator(tmp_path / "tokens", [np.arange(5, dtype="u2"), np.arange(4, dtype="u2")])

    mn.export(tokens.windows(3), folder / "a.npy")

    assert np.load(folder / "a.npy").tolist() == [[0, 1, 2], [3, 4, 0], [1, 2, 3]]


def test_error_of_a_map_leaves_nothing(records, folder):
    with pytest.raises(ZeroDivisionError, match="division"):
        mn.export(records.map(lambda sample: 1 / (int(sample["stars"]) - 1)), folder / "a.csv")

    assert list(folder.iterdir()) == []


def test_what_is_no_dataset_raises(records, folder, tmp_path):
    with pytest.raises(TypeError, match="expected a dataset, got str; open it with mmap_ninja.open first"):
        mn.export(str(tmp_path / "ds"), folder / "a.csv")
    with pytest.raises(ValueError, match="has no columns yet"):
        mn.export(mn.RecordsMmap(tmp_path / "missing"), folder / "a.csv")


def test_directories_of_0_x_are_exported(copy, folder):
    dataset = mn.open(copy("0.4.0-strings"), "r")

    mn.export(dataset, folder / "a.parquet")

    assert pq.read_table(folder / "a.parquet")["sample"].to_pylist() == list(dataset)


# ---- what is at the path


@pytest.mark.parametrize("name", OUTS)
def test_what_exists_is_an_error_and_stays(records, folder, name):
    (folder / name).write_text("precious")

    with pytest.raises(FileExistsError, match="exists"):
        mn.export(records, folder / name)

    assert shown(folder) == {name: b"precious"}


@pytest.mark.parametrize("name", OUTS[:-1])
def test_file_is_replaced_if_asked_for(records, folder, name):
    (folder / name).write_text("old")

    mn.export(records, folder / name, if_exists="replace")

    assert list(shown(folder)) == [name]
    assert shown(folder)[name] != b"old"


def test_folder_that_is_not_empty_is_never_replaced(records, folder):
    (folder / "texts").mkdir()
    mn.export(records["text"], folder / "texts")  # an empty one is no loss

    assert sorted(shown(folder / "texts")) == ["000000.txt", "000001.txt", "000002.txt"]
    with pytest.raises(FileExistsError, match="a folder is never replaced; remove it"):
        mn.export(records["text"], folder / "texts", if_exists="replace")
    with pytest.raises(FileExistsError, match="is no regular file"):
        mn.export(records["text"], folder / "texts", form="csv", if_exists="replace")


def test_devices_and_pipes_are_never_replaced(records, folder):
    os.mkfifo(folder / "pipe.csv")

    with pytest.raises(FileExistsError, match="is no regular file; choose another path"):
        mn.export(records, folder / "pipe.csv", if_exists="replace")


def test_dataset_does_not_overwrite_itself(records, tmp_path):
    with pytest.raises(ValueError, match="is in the dataset's own directory; choose another path"):
        mn.export(records, tmp_path / "ds" / "COMMIT", form="csv", if_exists="replace")


def test_options_that_mean_nothing_raise(records, folder):
    with pytest.raises(ValueError, match="if_exists 'append' is unknown"):
        mn.export(records, folder / "a.csv", if_exists="append")
    with pytest.raises(ValueError, match="suffix '.txt': only files in a folder have one"):
        mn.export(records, folder / "a.csv", suffix=".txt")


# ---- failures


@pytest.mark.parametrize("name", OUTS)
def test_failure_of_any_call_leaves_nothing_half_done(records, folder, name):
    """Each system call that changes a file fails in its turn, as on a full disk."""
    ds = records["text"] if name == "out" else records
    mn.export(ds, folder / name)
    whole, failed = shown(folder), 0

    while True:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        calls = []

        def fail(call, path, *_, calls=calls, last=failed):
            calls.append(call)
            if len(calls) == last + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        files.watch(fail)
        try:
            mn.export(ds, folder / name)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            assert shown(folder) in ({}, whole)  # the last sync comes after the rename
            if not shown(folder):
                assert "nothing of the export is left" in str(error)
            assert [path for path in folder.iterdir() if path.name.startswith(".")] == []
        else:
            break
        finally:
            files.watch(None)
        failed += 1

    assert failed >= 4
    assert shown(folder) == whole


@pytest.mark.parametrize("name", OUTS)
def test_interrupt_leaves_nothing(records, folder, name, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "rename", interrupted)

    with pytest.raises(KeyboardInterrupt):
        mn.export(records["text"] if name == "out" else records, folder / name)

    assert list(folder.iterdir()) == []


def test_file_that_appears_meanwhile_stays(records, folder, monkeypatch):
    sync = files.sync

    def appear(*arguments):
        (folder / "a.csv").write_text("of another process")
        sync(*arguments)

    monkeypatch.setattr(files, "sync", appear)

    with pytest.raises(FileExistsError, match="exists already"):
        mn.export(records, folder / "a.csv")

    assert shown(folder) == {"a.csv": b"of another process"}


def test_file_is_on_the_disk_before_it_has_its_name(records, folder):
    calls = []
    files.watch(lambda call, *_: calls.append(call))
    try:
        mn.export(records, folder / "a.csv")
    finally:
        files.watch(None)

    assert calls[0] == "open"
    assert calls[-3:] == [calls[-3], "rename", calls[-1]]
    assert "sync" in calls[-3]
    assert "sync" in calls[-1]


def test_bar_counts_samples(records, folder, capsys):
    mn.export(records, folder / "a.csv", verbose=True)

    assert "3/3" in capsys.readouterr().err
