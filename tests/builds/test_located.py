"""Exceptions of a source name the index at which they were raised, in their message where that is possible."""

import json
import pickle

import pytest

from mmap_ninja import StringsMmap
from mmap_ninja.builds.located import is_told
from mmap_ninja.parallel import make_indexable


class PlainError(Exception):
    pass


class OwnTextError(Exception):
    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code

    def __str__(self):
        return f"failed with {self.code}"


class FrozenError(OSError):
    strerror = property(lambda error: "frozen")


def decoding():
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error


def missing():
    try:
        open("no/such/file")  # noqa: SIM115
    except OSError as error:
        return error


def importing():
    try:
        import no_such_module  # noqa: F401, PLC0415
    except ImportError as error:
        return error


def lacking():
    try:
        None.shape
    except AttributeError as error:
        return error


MESSAGES = {
    "plain": (PlainError("bad image"), "bad image (index 7 of the source)"),
    "value": (ValueError("bad image"), "bad image (index 7 of the source)"),
    "without arguments": (AssertionError(), "index 7 of the source"),
    "index": (IndexError("tuple index out of range"), "tuple index out of range (index 7 of the source)"),
    "key": (KeyError("label"), "'label' (index 7 of the source)"),
    "file": (missing(), "[Errno 2] No such file or directory (index 7 of the source): 'no/such/file'"),
    "system error with a text": (OSError("truncated"), "truncated (index 7 of the source)"),
    "text": (
        decoding(),
        "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte (index 7 of the source)",
    ),
    "import": (importing(), "No module named 'no_such_module' (index 7 of the source)"),
    "json": (
        json.JSONDecodeError("bad", "{", 1),
        "bad: line 1 column 2 (char 1) (index 7 of the source)",
    ),
    "attribute": (lacking(), "'NoneType' object has no attribute 'shape' (index 7 of the source)"),
    "name": (NameError("name 'np' is not defined"), "name 'np' is not defined (index 7 of the source)"),
    "exit": (SystemExit("stop"), "stop (index 7 of the source)"),
}
NOTED = {
    "key that is no text": KeyError(150),
    "several arguments": ValueError("bad image", 3),
    "argument that is no text": PlainError(3),
    "text of its own": OwnTextError(5),
    "text that cannot be set": FrozenError(5, "bad"),
    "group": ExceptionGroup("several", [ValueError("one")]),
}


def raising(error, at=7):
    def sample(index):
        if index == at:
            raise error
        return str(index)

    return sample


@pytest.mark.parametrize("name", MESSAGES)
def test_message_of_an_error_of_the_source_names_the_index(tmp_path, name):
    error, message = MESSAGES[name]

    with pytest.raises(type(error)) as raised:
        StringsMmap.from_generator(tmp_path / "ds", map(raising(error), range(10)), batch_size=2)

    assert raised.value is error
    assert str(error) == message
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("name", NOTED)
def test_error_whose_message_cannot_be_changed_alone_has_a_note(tmp_path, name):
    error = NOTED[name]
    message, arguments = str(error), error.args

    with pytest.raises(type(error)) as raised:
        StringsMmap.from_generator(tmp_path / "ds", map(raising(error), range(10)))

    assert raised.value is error
    assert (str(error), error.args, error.__notes__) == (message, arguments, ["index 7 of the source"])


def test_located_errors_keep_what_programs_compare():
    key, file, text = KeyError("label"), missing(), decoding()

    assert all(is_told(error, "index 7 of the source") for error in (key, file, text))

    assert {"label": 1}[key.args[0]] == 1
    assert (file.errno, file.filename, text.start) == (2, "no/such/file", 0)
    assert pickle.loads(pickle.dumps(key)).args == ("label",)
    assert type(pickle.loads(pickle.dumps(key)).args[0]) is str


@pytest.mark.parametrize("batch_size", [1, 3, 1024])
def test_index_counts_from_the_first_sample_of_the_source(tmp_path, batch_size):
    def build(error, at, **options):
        samples = map(raising(error, at), range(20))
        return StringsMmap.from_generator(tmp_path / "ds", samples, batch_size=batch_size, **options)

    with pytest.raises(ValueError, match="first \\(index 11 of the source\\)"):
        build(ValueError("first"), 11)
    for at in (2, 11, 15):
        with pytest.raises(ValueError, match=f"again \\(index {at} of the source\\)"):
            build(ValueError("again"), at, if_exists="resume")
    StringsMmap.from_strings(tmp_path / "ds", ["old"])
    with pytest.raises(ValueError, match="appending \\(index 3 of the source\\)"):
        build(ValueError("appending"), 3, if_exists="append")


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_index_of_an_indexable_is_named_also_where_it_is_only_compared(tmp_path, n_jobs):
    def build(at, **options):
        source = make_indexable(raising(KeyError("label"), at), 9)
        StringsMmap.from_indexable(tmp_path / "ds", source, batch_size=1, n_jobs=n_jobs, **options)

    with pytest.raises(KeyError, match="'label' \\(index 7 of the source\\)"):
        build(7)
    with pytest.raises(KeyError, match="'label' \\(index 6 of the source\\)"):
        build(6, if_exists="resume")


def test_sample_that_cannot_be_appended_is_named_by_its_place_in_the_dataset_and_the_source(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", ["older", "old"])

    with pytest.raises(TypeError, match="sample 5: expected str, got int.*\\(sample 2 of the dataset is index 0 of"):
        StringsMmap.from_generator(tmp_path / "ds", ["a", "b", "c", 4], if_exists="append")

    assert list(StringsMmap(tmp_path / "ds")) == ["older", "old"]
