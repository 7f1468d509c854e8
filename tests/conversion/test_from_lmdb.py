import os
import sys

import lmdb
import pytest

import mmap_ninja as mn


def make(path, entries, **options):
    with lmdb.open(str(path), map_size=1 << 26, **options) as env, env.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)
    return path


ENTRIES = {b"b": b"\xff\xd8", b"a": b"", b"__keys__": b"\x80\x04K\x01.", b"class": b"x" * 5000}
VALUES = [ENTRIES[key] for key in sorted(ENTRIES)]


def test_values_are_bytes_in_the_order_of_their_keys(tmp_path):
    ds = mn.convert(make(tmp_path / "in", ENTRIES), tmp_path / "out")

    assert type(ds) is mn.BytesMmap
    assert list(ds) == VALUES


@pytest.mark.parametrize("name", ["in.lmdb", "in.mdb"])
def test_a_single_file(tmp_path, name):
    ds = mn.convert(make(tmp_path / name, ENTRIES, subdir=False), tmp_path / "out")

    assert list(ds) == VALUES


def test_the_file_in_the_folder_is_the_same_database(tmp_path):
    ds = mn.convert(make(tmp_path / "in", ENTRIES) / "data.mdb", tmp_path / "out")

    assert list(ds) == VALUES


def test_keys_on_request(tmp_path):
    path = make(tmp_path / "in", ENTRIES)

    ds = mn.convert(path, tmp_path / "out", with_path=True)
    texts = mn.convert(path, tmp_path / "texts", kind="records", columns={"key": mn.Text()})

    assert [(sample["key"], sample["value"]) for sample in ds] == sorted(ENTRIES.items())
    assert list(texts["key"]) == ["__keys__", "a", "b", "class"]


def test_a_key_that_is_no_text_is_named_and_can_be_left_out(tmp_path):
    path = make(tmp_path / "in", {b"a": b"1", b"b\xff": b"2"})
    columns = {"key": mn.Text()}

    with pytest.raises(ValueError, match=r"in, key b'b\\xff': its key: byte 1 is 0xff"):
        mn.convert(path, tmp_path / "out", with_path=True, columns=columns)
    with pytest.warns(match="1 sample was left out"):
        ds = mn.convert(path, tmp_path / "skipped", with_path=True, columns=columns, on_error="skip")

    assert list(ds) == [{"key": "a", "value": b"1"}]


def test_an_empty_database(tmp_path):
    assert len(mn.convert(make(tmp_path / "in", {}), tmp_path / "out")) == 0


def test_named_databases_must_be_named(tmp_path):
    with lmdb.open(str(tmp_path / "in"), max_dbs=4) as env:
        for name in (b"train", b"test"):
            with env.begin(env.open_db(name), write=True) as transaction:
                transaction.put(b"key", name)

    with pytest.raises(ValueError, match=r"in: expected one database, found \['test', 'train'\]; name one of these"):
        mn.convert(tmp_path / "in", tmp_path / "out")
    with pytest.raises(ValueError, match="in: expected a database 'no', found"):
        mn.convert(tmp_path / "in", tmp_path / "out", dataset="no")

    assert list(mn.convert(tmp_path / "in", tmp_path / "out", dataset="train")) == [b"train"]


def test_the_only_named_database_needs_no_name(tmp_path):
    with lmdb.open(str(tmp_path / "in"), max_dbs=4) as env, env.begin(env.open_db(b"all"), write=True) as transaction:
        transaction.put(b"key", b"value")

    assert list(mn.convert(tmp_path / "in", tmp_path / "out")) == [b"value"]


def test_a_folder_that_cannot_be_written_needs_no_lock(tmp_path, monkeypatch):
    path = make(tmp_path / "in", ENTRIES)
    (path / "lock.mdb").unlink()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere

    assert list(mn.convert(path, tmp_path / "out")) == VALUES
    assert not (path / "lock.mdb").exists()


def test_a_database_copied_by_half_is_refused(tmp_path):
    """Reading beyond the end of a mapped file kills the process."""
    path = make(tmp_path / "in", {b"%d" % n: b"x" * 5000 for n in range(50)})
    os.truncate(path / "data.mdb", 40 * 4096)

    with pytest.raises(ValueError, match=r"data.mdb: expected \d+ bytes, found 163840; copy it again"):
        mn.convert(path, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "in.lmdb").write_bytes(content)

    with pytest.raises(ValueError, match="in.lmdb: LMDB cannot read it: "):
        mn.convert(tmp_path / "in.lmdb", tmp_path / "out")


def test_an_interrupted_conversion_resumes(tmp_path):
    entries = {b"%06d" % n: b"value %d" % n for n in range(3000)}
    path = make(tmp_path / "in", entries)
    with pytest.raises(OSError, match="gone"):
        mn.BytesMmap.from_generator(tmp_path / "out", ended(list(entries.values())[:2000]))

    ds = mn.convert(path, tmp_path / "out", if_exists="resume")

    assert list(ds) == list(entries.values())


def test_a_conversion_goes_on_while_the_interrupted_one_is_not_collected(tmp_path, monkeypatch):
    """As in a notebook, which keeps the last traceback; LMDB opens a database once in a process."""
    path = make(tmp_path / "in", {b"%06d" % n: b"%d" % n for n in range(3000)})

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as raised:
        patch.setattr(mn.BytesMmap, "_encode", interrupted)
        mn.convert(path, tmp_path / "out")

    assert raised.tb is not None
    assert len(mn.convert(path, tmp_path / "out", if_exists="resume")) == 3000


def test_a_database_that_the_caller_has_open_is_named(tmp_path):
    path = make(tmp_path / "in", ENTRIES)

    with (
        lmdb.open(str(path)),
        pytest.raises(ValueError, match="data.mdb: LMDB cannot read it: .* already open in this"),
    ):
        mn.convert(path, tmp_path / "out")


def ended(samples):
    yield from samples
    raise OSError("gone")


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    path = make(tmp_path / "in", ENTRIES)
    monkeypatch.setitem(sys.modules, "lmdb", None)

    with pytest.raises(ImportError, match=r'in: needs lmdb: pip install "mmap_ninja\[lmdb\]"'):
        mn.convert(path, tmp_path / "out")


def test_a_damaged_length_is_an_error(tmp_path):
    path = tmp_path / "in"
    with lmdb.open(str(path)) as env, env.begin(write=True) as transaction:
        transaction.put(b"key", b"value")
    data = (path / "data.mdb").read_bytes()
    at = data.index(b"keyvalue") - 8  # of the low half of the length of the value
    (path / "data.mdb").write_bytes(data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :])

    with pytest.raises(ValueError, match="data.mdb: LMDB cannot read it: .*MDB_CORRUPTED"):
        mn.convert(path, tmp_path / "out")
