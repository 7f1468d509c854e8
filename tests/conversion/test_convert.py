"""`convert`: what is found, what goes wrong, and what is left then."""

import errno
import os
import pickle
import random
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import mmap_ninja as mn
from mmap_ninja.conversion.convert import prepared
from mmap_ninja.conversion.find import FORMS, Form
from mmap_ninja.conversion.source import Source
from support.faults import At, as_nobody, fail_with, killed_at, opened, unsynced, watched

TEXTS = [f"review {number}: " + "aé日"[number % 3] * (number % 50) for number in range(200)]
SMALL = 400  # bytes in a batch


@pytest.fixture
def reviews(tmp_path):
    """A folder with a text in each file, in two folders."""
    for number, text in enumerate(TEXTS):
        file = tmp_path / "reviews" / "ab"[number // 100] / f"{number:03}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    return tmp_path / "reviews"


@pytest.fixture
def given(monkeypatch):
    """Converts samples that a reader gives for the file `source.given`."""

    def convert(tmp_path, samples, *, kind="records", feed="generator", **options):
        def read(path, wanted):
            return Source(
                form="samples",
                kind=kind,
                samples=samples,
                feed=feed,
                columns=wanted.columns,
                place=lambda index: f"{path}, line {index + 1}",
            )

        monkeypatch.setattr(Form, "read", lambda _, path, wanted: read(path, wanted))
        (tmp_path / "source.npy").touch()
        return mn.convert(tmp_path / "source.npy", tmp_path / "out", **options)

    return convert


def left_out(act):
    """The result of an act, and the text of the warning about samples that were left out."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = act()
    return result, "\n".join(str(warning.message) for warning in caught)


def test_convert_source_is_missing_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing: expected a file or folder to convert, found nothing"):
        mn.convert(tmp_path / "nothing", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("source.xyz", "cannot tell its format"),
        ("folder", "cannot tell its format"),
        ("empty", "is a folder without files"),
    ],
)
def test_convert_unknown_format_names_those_that_are_known(tmp_path, name, found):
    (tmp_path / "empty" / "below").mkdir(parents=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "source.xyz").touch()
    (tmp_path / "source.xyz").touch()

    with pytest.raises(ValueError, match=f"{name}: {found}; expected one of: .*folder of text files"):
        mn.convert(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "form"), [("a.NPY", r"array of NumPy \(.npy\)"), ("b/a.csv.gz", "CSV")])
def test_convert_folder_of_files_that_are_read_one_by_one_says_so(tmp_path, name, form):
    path = tmp_path / "folder" / name
    path.parent.mkdir(parents=True)
    path.touch()

    with pytest.raises(ValueError, match=rf"folder: is a folder of files that are converted one by one \({form}\)"):
        mn.convert(tmp_path / "folder", tmp_path / "out")


@pytest.mark.parametrize("name", ["model.pt", "model.PTH", "samples.pkl", "samples.pickle"])
def test_convert_pickle_is_refused_unread(tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))

    with pytest.raises(ValueError, match=r"is a pickle, which runs code .* load it yourself if you trust it"):
        mn.convert(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "exploded").exists()


def test_convert_other_kind_raises(reviews, tmp_path):
    with pytest.raises(ValueError, match=r"kind 'array': expected 'strings' .*\(folder of text files\)"):
        mn.convert(reviews, tmp_path / "out", kind="array")


def test_convert_columns_of_strings_raise(reviews, tmp_path):
    with pytest.raises(ValueError, match=r"reviews: column 'text': strings have no columns; leave it out"):
        mn.convert(reviews, tmp_path / "out", columns={"text": mn.Text()})


@pytest.mark.parametrize(
    "option", [{"kind": "tokens"}, {"on_error": "ignore"}, {"if_exists": "ask"}, {"codec": "gzip"}]
)
def test_convert_unknown_option_raises_before_anything_is_read(tmp_path, option):
    with pytest.raises(ValueError, match=rf"{next(iter(option))} '\w+' is unknown"):
        mn.convert(tmp_path / "nothing", tmp_path / "out", **option)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("reviews", "reviews: is the source itself; choose another path"),
        ("reviews/a/out", "out: lies in the source, .*reviews; choose a folder outside it"),
        ("link/out", "lies in the source"),
        (".", r"holds files that do not belong to a dataset: .*reviews"),
        ("file", r"is a file"),
        ("file/out", r"file"),
    ],
)
def test_convert_to_a_wrong_place_raises(reviews, tmp_path, out, message):
    (tmp_path / "link").symlink_to(reviews / "a")
    (tmp_path / "file").write_text("kept")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises((ValueError, OSError), match=message):
        mn.convert(reviews, tmp_path / out)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "kept"


def test_convert_to_a_dataset_raises_unless_told(reviews, tmp_path):
    out = tmp_path / "out"
    mn.StringsMmap.from_strings(out, ["old"]).close()

    with pytest.raises(FileExistsError, match="out: a dataset already exists; choose another path, or pass if_e"):
        mn.convert(reviews, out)
    assert list(mn.open(out)) == ["old"]
    assert list(mn.convert(reviews, out, if_exists="append")) == ["old", *TEXTS]
    assert list(mn.convert(reviews, out, if_exists="replace")) == TEXTS
    assert list(mn.convert(reviews, out, if_exists="reuse")) == TEXTS


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
@pytest.mark.parametrize("closed", ["source", "out"])
def test_convert_without_permission_names_the_path(reviews, tmp_path, closed):
    folder = {"source": reviews / "b", "out": tmp_path / "closed"}[closed]
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    out = tmp_path / "open" / "out" if closed == "source" else folder / "out"
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    def convert():
        try:
            mn.convert(reviews, out)
        except PermissionError as error:
            return str(error)
        return None

    assert str(folder) in as_nobody(convert)


@pytest.mark.parametrize("when", [1, 2, 5, 20, 40, 60])
def test_convert_without_space_keeps_what_is_committed_and_goes_on(reviews, tmp_path, when):
    out = tmp_path / "out"
    with watched(unsynced(At(when, fail_with(errno.ENOSPC)))), pytest.raises(OSError, match="No space left") as raised:
        mn.convert(reviews, out, batch_bytes=SMALL)

    stored = len(opened(out)) if (out / "COMMIT").exists() else 0
    assert TEXTS[:stored] == (list(opened(out)) if stored else [])
    assert not stored or f"{stored:,} samples are stored; if_exists='resume'" in raised.value.__notes__[-1]
    assert list(mn.convert(reviews, out, if_exists="resume")) == TEXTS


def test_error_in_the_source_keeps_what_is_committed_and_goes_on(reviews, tmp_path):
    bad = reviews / "b" / "150.txt"
    bad.write_bytes(b"abc\xe9")

    with pytest.raises(ValueError, match=r"b/150\.txt: byte 3 is 0xe9: expected text in UTF-8") as raised:
        mn.convert(reviews, tmp_path / "out", batch_bytes=SMALL)
    with pytest.warns(mn.IncompleteDatasetWarning):
        stored = len(mn.open(tmp_path / "out"))
    assert 0 < stored <= 150
    assert raised.value.__notes__[-1] == (
        f"{tmp_path / 'out'}: {stored:,} samples are stored; if_exists='resume' goes on after them"
    )
    with pytest.raises(FileExistsError, match=f"an unfinished dataset of {stored} samples is there; pass if_exists='r"):
        mn.convert(reviews, tmp_path / "out")

    bad.write_text(TEXTS[150])
    assert list(mn.convert(reviews, tmp_path / "out", if_exists="resume")) == TEXTS


def test_error_in_the_first_samples_creates_nothing(reviews, tmp_path):
    (reviews / "a" / "007.txt").write_bytes(b"\xff")

    with pytest.raises(ValueError, match=r"007\.txt: byte 0 is 0xff"):
        mn.convert(reviews, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_source_that_vanishes_names_the_file(reviews, tmp_path):
    planned, _ = prepared(reviews, tmp_path / "out")
    shutil.rmtree(reviews / "b")

    with pytest.raises(FileNotFoundError, match=r"b/100\.txt"):
        planned.store(tmp_path / "out", verbose=False)


def test_interrupt_keeps_what_is_committed_and_goes_on(given, tmp_path):
    def samples():
        for number in range(3000):
            if number == 2500:
                raise KeyboardInterrupt
            yield {"n": number}

    with pytest.raises(KeyboardInterrupt) as raised:
        given(tmp_path, samples())
    assert "2,048 samples are stored" in raised.value.__notes__[-1]

    made = given(tmp_path, ({"n": number} for number in range(3000)), if_exists="resume")
    assert made["n"][:].tolist() == list(range(3000))


@pytest.mark.parametrize(("feed", "n_jobs"), [("generator", None), ("indexable", None), ("indexable", 2)])
@pytest.mark.parametrize("bad", [3, 1500])
def test_sample_that_cannot_be_stored_is_named_by_its_place(given, tmp_path, feed, n_jobs, bad):
    samples = [{"n": number, "t": "x"} for number in range(2000)]
    samples[bad]["t"] = 5

    with pytest.raises(TypeError, match=rf"source\.npy, line {bad + 1}\b"):
        given(tmp_path, samples, feed=feed, n_jobs=n_jobs)
    assert (tmp_path / "out").exists() == (bad > 1024)


@pytest.mark.parametrize("feed", ["generator", "indexable"])
def test_skip_leaves_out_what_cannot_be_stored(given, tmp_path, feed):
    samples = [{"n": number, "t": f"text {number}"} for number in range(3000)]
    bad = {3: {"n": "three", "t": ""}, 1023: {"n": 1023}, 1024: 7, 2900: {"n": 2900, "t": "", "more": 1}}
    for place, sample in bad.items():
        samples[place] = sample

    made, told = left_out(lambda: given(tmp_path, samples, feed=feed, on_error="skip"))

    assert list(made["n"]) == [number for number in range(3000) if number not in (3, 1024, 2900)]
    assert made[1022] == {"n": 1023, "t": None}  # the first samples decide together
    assert "3 samples were left out:" in told
    assert all(f"source.npy, line {line}" in told for line in (4, 1025, 2901))


def test_skip_leaves_out_what_cannot_be_read(reviews, tmp_path):
    (reviews / "a" / "007.txt").write_bytes(b"\xff")
    (reviews / "b" / "190.txt").unlink()
    (reviews / "b" / "190.txt").symlink_to("nowhere")

    made, told = left_out(lambda: mn.convert(reviews, tmp_path / "out", on_error="skip"))

    assert list(made) == [text for number, text in enumerate(TEXTS) if number not in (7, 190)]
    assert "2 samples were left out" in told
    assert "007.txt: byte 0 is 0xff" in told
    assert "190.txt" in told


def test_skip_names_the_first_ten(given, tmp_path):
    _, told = left_out(lambda: given(tmp_path, [{"n": 1}, *[5] * 30], on_error="skip"))

    assert "30 samples were left out, the first ones:\n" in told
    assert len(told.splitlines()) == 11


@pytest.mark.parametrize("where", [0, 2000])
def test_skip_leaves_out_values_of_all_sorts(given, tmp_path, where):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    fields = {"n": 1, "t": "x", "a": [1.5, 2.5], "j": [{}]}
    bad = [
        {"n": 2**70},
        {"n": "1"},
        {"n": None},
        {"t": "\ud800"},
        {"t": b"x"},
        {"a": ["x"]},
        {"j": [b"x"]},
        {"j": deep},
    ]
    samples = [fields] * 3000
    samples[where : where + len(bad)] = [fields | other for other in bad]

    made, told = left_out(lambda: given(tmp_path, samples, on_error="skip", columns={"n": mn.Scalar("int64")}))

    count = len(bad) - (where == 0)  # lists of texts and of numbers are both JSON, if they decide together
    assert len(made) == 3000 - count
    assert f"{count} samples were left out" in told
    assert f"source.npy, line {where + 1}: column 'n': sample {where}: the dataset's dtype int64 cannot hold" in told


def test_skip_when_appending_leaves_out_what_does_not_fit_the_dataset(given, tmp_path):
    given(tmp_path, [{"n": 1}], columns={"n": mn.Scalar("uint8")})

    made, told = left_out(lambda: given(tmp_path, [{"n": 2}, {"n": 256}], on_error="skip", if_exists="append"))

    assert made["n"][:].tolist() == [1, 2]
    assert "line 2" in told


def test_skip_of_all_samples_names_the_reason(given, tmp_path):
    with pytest.raises(TypeError, match=r"source\.npy, line 1: expected a dict"):
        given(tmp_path, [1, 2, 3], on_error="skip")


def test_first_samples_without_a_common_type_are_named_by_their_places(given, tmp_path):
    samples = [{"a": 1}, {"a": 2}, {"a": "x"}]

    with pytest.raises(TypeError, match=r"npy: column 'a': .*line 1 is a number and .*line 3 is a str"):
        given(tmp_path, samples)


def test_columns_are_as_declared_and_compressed(given, tmp_path):
    samples = [{"n": 1, "t": "x", "b": b"y", "j": [{}]}] * 3

    made = given(tmp_path, samples, columns={"n": mn.Scalar("uint8")}, codec="zstd")

    assert "n: uint8; t: str (zstd); b: bytes (zstd); j: json (zstd)".replace(";", ",") in repr(made)
    assert list(made) == samples


def test_codec_of_strings(reviews, tmp_path):
    made = mn.convert(reviews, tmp_path / "out", codec="zstd")

    assert made.nbytes != sum(len(text.encode()) for text in TEXTS)
    assert list(made) == TEXTS


def test_resume_keeps_columns_and_codec(given, tmp_path):
    samples = [{"n": number, "t": f"text {number}"} for number in range(3000)]

    def interrupted():
        yield from samples[:2000]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        given(tmp_path, interrupted(), codec="zstd", columns={"n": mn.Scalar("uint16")})
    made = given(tmp_path, samples, codec="zstd", columns={"n": mn.Scalar("uint16")}, if_exists="resume")

    assert list(made) == samples
    assert "n: uint16, t: str (zstd)" in repr(made)


def test_resume_with_skip_leaves_out_the_same(given, tmp_path):
    samples = [{"n": number} for number in range(3000)]
    samples[5], samples[1500], samples[2900] = {"n": "x"}, {}, {"n": []}

    def interrupted():
        yield from samples[:2800]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        given(tmp_path, interrupted(), on_error="skip")
    made, told = left_out(lambda: given(tmp_path, samples, on_error="skip", if_exists="resume"))

    assert list(made["n"]) == [number for number in range(3000) if number not in (5, 1500, 2900)]
    assert "3 samples were left out" in told


def test_no_samples_make_an_empty_dataset(given, tmp_path):
    made = given(tmp_path, [])

    assert len(made) == 0
    assert mn.open(tmp_path / "out").columns == []


def test_first_samples_are_shown_and_still_stored(given, tmp_path):
    (tmp_path / "lines.txt").write_text("a\nb\nc\nd\n")

    planned, _ = prepared(tmp_path / "lines.txt", tmp_path / "out")

    assert planned.first == ["a", "b", "c"]
    assert not (tmp_path / "out").exists()
    assert list(planned.store(tmp_path / "out", verbose=False)) == ["a", "b", "c", "d"]


def test_replacement_that_is_interrupted_keeps_the_old_dataset_and_goes_on(reviews, tmp_path):
    out, bad = tmp_path / "out", reviews / "b" / "150.txt"
    mn.StringsMmap.from_strings(out, ["old"]).close()
    bad.write_bytes(b"\xff")

    with pytest.raises(ValueError, match=r"150\.txt") as raised:
        mn.convert(reviews, out, if_exists="replace", batch_bytes=SMALL, codec="zstd")
    assert list(mn.open(out)) == ["old"]
    assert "samples are stored; if_exists='resume' goes on" in raised.value.__notes__[-1]

    bad.write_text(TEXTS[150])
    made = mn.convert(reviews, out, if_exists="resume", codec="zstd")
    assert list(made) == TEXTS
    assert made.nbytes != sum(len(text.encode()) for text in TEXTS)


def test_tables_are_converted_by_their_schema(given, tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"n": pa.array([1, None, 3], "int32"), "t": ["a", "b", "c"], "list": [[1.0], [], [2.0, 3.0]]})

    made = given(tmp_path, table, feed="arrow", codec="zstd")

    assert [(sample["n"], sample["t"]) for sample in made] == [(1, "a"), (None, "b"), (3, "c")]
    assert "n: int32 or None, t: str (zstd), list: float64[*]" in repr(made)
    assert list(given(tmp_path, table, feed="arrow", if_exists="append")["t"]) == ["a", "b", "c"] * 2


def test_table_of_one_column_is_no_records(given, tmp_path):
    pa = pytest.importorskip("pyarrow")

    made = given(tmp_path, pa.table({"t": ["a", "b"]}), feed="arrow", kind="strings")

    assert list(made) == ["a", "b"]


def test_first_rows_of_a_stream_are_shown_and_still_stored(monkeypatch, tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"n": range(5)})
    batches = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=2))

    source = Source(form="table", kind="records", samples=batches, feed="arrow")
    monkeypatch.setattr(Form, "read", lambda *_: source)
    (tmp_path / "source.npy").touch()

    planned, _ = prepared(tmp_path / "source.npy", tmp_path / "out2")

    assert planned.first == [{"n": 0}, {"n": 1}]
    assert planned.store(tmp_path / "out2", verbose=False)["n"][:].tolist() == [0, 1, 2, 3, 4]


PROGRAM = """
import sys, threading, time
import mmap_ninja as mn

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

mn.convert(sys.argv[1], sys.argv[2] + "-first", batch_bytes=1 << 20)
before, peak = anonymous(), 0
thread = threading.Thread(target=lambda: mn.convert(sys.argv[1], sys.argv[2], batch_bytes=1 << 20))
thread.start()
while thread.is_alive():
    peak = max(peak, anonymous())
    time.sleep(0.001)
print(peak - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_depend_on_the_size_of_the_source(tmp_path):
    peaks = []
    for count in (1_000, 10_000):
        (tmp_path / f"{count}.txt").write_text("a line of a file, and more of it, and more and more\n" * 40 * count)
        words = [sys.executable, "-c", PROGRAM, tmp_path / f"{count}.txt", tmp_path / f"out-{count}"]
        peaks.append(int(subprocess.run(words, check=True, capture_output=True).stdout))

    assert peaks[1] < max(peaks[0], 1024) + 4096, peaks  # kB


@pytest.mark.parametrize("moments", [6, pytest.param(50, marks=pytest.mark.torture)])
@pytest.mark.parametrize("with_path", [False, True])
def test_killed_conversion_goes_on_to_the_same_dataset(reviews, tmp_path, moments, with_path):
    options = {"batch_bytes": SMALL, "with_path": with_path}
    counter = At(0, None, only=lambda _call, _offset: True)
    with watched(unsynced(counter)):
        undisturbed = mn.convert(reviews, tmp_path / "undisturbed", **options)

    for number in random.Random(0).sample(range(1, counter.seen), moments):
        out = tmp_path / f"out-{number}"
        assert killed_at(number, lambda out=out: mn.convert(reviews, out, **options))
        made = mn.convert(reviews, out, if_exists="resume", **options)
        assert list(made) == list(undisturbed)
        assert mn.verify(out).ok


def test_forms_are_found_by_their_modules():
    for form in FORMS:
        assert form.suffixes or form.fits, form.name
