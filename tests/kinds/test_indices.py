"""Every key in every operation of every sequence, compared with a plain list."""

import itertools
import operator

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StringsMmap, Wrapped

COUNT = 5
NUMBERS = range(COUNT)
TEXTS = [f"text {number}" for number in NUMBERS]
ARRAYS = [np.arange(3, dtype=np.int32) + 10 * number for number in NUMBERS]
RAGGED = [np.arange(number, dtype=np.int16) for number in NUMBERS]
RECORDS = [{"text": text, "row": row} for text, row in zip(TEXTS, RAGGED, strict=True)]


class Tensor:
    """Like a PyTorch tensor, it has `__index__` for any dimensions."""

    def __init__(self, values, dtype=np.int64):
        self._values = np.asarray(values, dtype)
        self.shape, self.ndim, self.dtype = self._values.shape, self._values.ndim, f"torch.{self._values.dtype}"

    def __array__(self, dtype=None, copy=None):
        return self._values

    def __len__(self):
        return len(self._values)

    def __index__(self):
        return int(self._values.item())


class Index:
    def __init__(self, value):
        self._value = value

    def __index__(self):
        return self._value


# By name: a key, and its list of indices, or its single index, or the exceptions that it raises.
KEYS = {
    "int": (3, 3),
    "first": (0, 0),
    "negative": (-2, -2),
    "np.int64": (np.int64(3), 3),
    "np.uint8": (np.uint8(3), 3),
    "0-d array": (np.array(3), 3),
    "0-d tensor": (Tensor(3), 3),
    "__index__": (Index(-1), -1),
    "one-element array": (np.array([3]), [3]),
    "one-element tensor": (Tensor([3]), [3]),
    "one-element list": ([3], [3]),
    "tensor": (Tensor([4, -5]), [4, 0]),
    "list": ([1, -1, 0], [1, 4, 0]),
    "list of np.int64": ([np.int64(1), 2], [1, 2]),
    "empty list": ([], []),
    "empty array": (np.array([], np.int64), []),
    "int32": (np.array([2, -1], np.int32), [2, 4]),
    "uint8": (np.array([2, 0], np.uint8), [2, 0]),
    "uint64": (np.array([2, 0], np.uint64), [2, 0]),
    "big-endian": (np.array([2, 0], ">i8"), [2, 0]),
    "strided": (np.array([4, 9, 1, 9])[::2], [4, 1]),
    "range": (range(4, 0, -2), [4, 2]),
    "slice": (slice(1, 4), [1, 2, 3]),
    "slice by steps": (slice(None, None, -2), [4, 2, 0]),
    "slice past the end": (slice(3, 2**70), [3, 4]),
    "slice by steps beyond 64 bits": (slice(None, None, -(2**70)), [4]),
    "empty slice": (slice(4, 1), []),
    "mask": (np.array([True, False, True, False, False]), [0, 2]),
    "list mask": ([False, True, False, False, True], [1, 4]),
    "tensor mask": (Tensor([True, False, False, False, True], np.bool_), [0, 4]),
    "mask of none": (np.zeros(COUNT, bool), []),
    "short mask": (np.array([True, False]), IndexError),
    "long mask": (np.ones(COUNT + 1, bool), IndexError),
    "out of range": (COUNT, IndexError),
    "far below": (-COUNT - 1, IndexError),
    "past 64 bits": (2**64, IndexError),
    "list out of range": ([0, COUNT], IndexError),
    "list far below": ([-COUNT - 1], IndexError),
    "array far below": (np.array([-COUNT - 1]), IndexError),
    "list past 64 bits": ([2**70], (IndexError, TypeError)),
    "uint64 past 63 bits": (np.array([2**63], np.uint64), IndexError),
    "2-d array": (np.zeros((2, 2), int), IndexError),
    "2-d tensor": (Tensor([[0]]), IndexError),
    "tuple": ((0, 1), TypeError),
    "empty tuple": ((), TypeError),
    "True": (True, TypeError),
    "np.True_": (np.True_, TypeError),
    "0-d bool array": (np.array(True), TypeError),
    "0-d bool tensor": (Tensor(True, np.bool_), TypeError),
    "None": (None, TypeError),
    "Ellipsis": (..., TypeError),
    "float": (1.0, TypeError),
    "np.float64": (np.float64(1), TypeError),
    "0-d float array": (np.array(1.0), TypeError),
    "float array": (np.array([0.0, 1.0]), TypeError),
    "bytes": (b"01", TypeError),
    "str": ("0", TypeError),
    "set": ({0, 1}, TypeError),
    "dict": ({0: 1}, TypeError),
    "object": (object(), TypeError),
}


def is_error(expected):
    return isinstance(expected, type | tuple)


WRONG = [name for name, (_, meaning) in KEYS.items() if is_error(meaning)]
RIGHT = [name for name in KEYS if name not in WRONG]


def records(path):
    return RecordsMmap.from_generator(path, RECORDS)


def concat_of_two(cls, samples, path):
    return mn.concat([cls.from_generator(path / str(k), part) for k, part in enumerate((samples[:2], samples[2:]))])


def windows(path, **options):
    return RaggedMmap.from_lists(path, [np.concatenate(ARRAYS)]).windows(3, **options)


# By name: a function that makes a sequence and the equal list.
DATASETS = {
    "strings": (lambda path: StringsMmap.from_strings(path, TEXTS), TEXTS),
    "bytes": (lambda path: BytesMmap.from_generator(path, map(str.encode, TEXTS)), [text.encode() for text in TEXTS]),
    "array": (lambda path: ArrayMmap.from_generator(path, ARRAYS), ARRAYS),
    "ragged": (lambda path: RaggedMmap.from_lists(path, RAGGED), RAGGED),
    "records": (records, RECORDS),
}
SEQUENCES = DATASETS | {
    "column of text": (lambda path: records(path)["text"], TEXTS),
    "column of rows": (lambda path: records(path)["row"], RAGGED),
    "column with nulls": (
        lambda path: RecordsMmap.from_columns(
            path, {"row": ARRAYS}, columns={"row": mn.Array((3,), np.int32, nullable=True)}
        )["row"],
        ARRAYS,
    ),
    "view": (lambda path: StringsMmap.from_strings(path, ["-", *TEXTS]).select(slice(1, None)), TEXTS),
    "view by indices": (lambda path: RaggedMmap.from_lists(path, RAGGED[::-1]).select([4, 3, 2, 1, 0]), RAGGED),
    "shapes": (lambda path: RaggedMmap.from_lists(path, [*RAGGED[1:], 0]).shapes, [(1,), (2,), (3,), (4,), ()]),
    "windows": (windows, ARRAYS),
    "windows within samples": (lambda path: windows(path, stride=3, within_samples=True), ARRAYS),
    "concat of strings": (lambda path: concat_of_two(StringsMmap, TEXTS, path), TEXTS),
    "concat of arrays": (lambda path: concat_of_two(ArrayMmap, ARRAYS, path), ARRAYS),
    "concat of records": (lambda path: concat_of_two(RecordsMmap, RECORDS, path), RECORDS),
    "view of a concat": (
        lambda path: concat_of_two(StringsMmap, TEXTS[::-1], path).select(slice(None, None, -1)),
        TEXTS,
    ),
    "wrapped": (lambda path: Wrapped(StringsMmap.from_strings(path, TEXTS), lambda text: text), TEXTS),
}
FOLLOWS_NUMPY = {"array", "concat of arrays"}  # in brackets, where NumPy accepts more than a list
HAS_NAMES = {"records", "concat of records"}
BATCHES = ("take", "__getitems__", "select")
LACKS = {"shapes": BATCHES, "wrapped": BATCHES, "windows": {"select"}, "windows within samples": {"select"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All sequences, for tests that change nothing."""
    return {name: make(tmp_path_factory.mktemp("made") / "ds") for name, (make, _) in SEQUENCES.items()}


@pytest.fixture(params=DATASETS)
def dataset(request, tmp_path):
    """A new dataset for each test, and the equal list."""
    make, expected = DATASETS[request.param]
    return make(tmp_path / "ds"), list(expected)


def values(samples):
    """Samples by value: a batch of them, or a list."""
    if isinstance(samples, dict):  # of records' columns
        samples = [dict(zip(samples, row, strict=True)) for row in zip(*samples.values(), strict=True)]
    return [value(sample) for sample in samples]


def value(sample):
    if isinstance(sample, np.ndarray):
        return str(sample.dtype), sample.tolist()
    return {name: value(of) for name, of in sample.items()} if isinstance(sample, dict) else sample


def check_error(expected, call, *arguments):
    with pytest.raises(expected) as raised:
        call(*arguments)
    assert "index" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name in SEQUENCES for key in KEYS if name not in FOLLOWS_NUMPY or key in RIGHT]
)
def test_brackets_match_a_list(made, name, key):
    samples, expected, (key, meaning) = made[name], SEQUENCES[name][1], KEYS[key]
    if name in HAS_NAMES and isinstance(key, str):
        meaning = KeyError

    if is_error(meaning):
        with pytest.raises(meaning, match="index|cannot fit|has no column"):
            samples[key]
    elif isinstance(meaning, int):
        assert value(samples[key]) == value(expected[meaning])
    else:
        assert values(samples[key]) == values([expected[index] for index in meaning])


@pytest.mark.parametrize(
    ("name", "operation"),
    [(name, operation) for name in SEQUENCES for operation in BATCHES if operation not in LACKS.get(name, ())],
)
@pytest.mark.parametrize("key", KEYS)
def test_batches_match_a_list(made, name, operation, key):
    call, expected, (key, meaning) = getattr(made[name], operation), SEQUENCES[name][1], KEYS[key]
    if isinstance(key, tuple):  # several indices, since there are no dimensions here
        meaning = list(key)
    elif isinstance(meaning, int):
        meaning = TypeError

    if is_error(meaning):
        check_error((IndexError, TypeError), call, key)
    else:
        assert values(call(key)) == values([expected[index] for index in meaning])


@pytest.mark.parametrize("key", KEYS)
def test_prefetch_and_take_jagged_accept_the_same_as_take(made, key):
    key, meaning = KEYS[key]

    for act in (*(made[name].prefetch for name in DATASETS), made["strings"].take_jagged, made["ragged"].take_jagged):
        if isinstance(key, tuple) or isinstance(meaning, list):
            act(key)
        else:
            check_error((IndexError, TypeError), act, key)
    if isinstance(meaning, list):
        values, offsets = made["strings"].take_jagged(key)
        ends = itertools.pairwise(offsets)
        assert [values[start:end].tobytes().decode() for start, end in ends] == [TEXTS[index] for index in meaning]


@pytest.mark.parametrize("key", RIGHT)
def test_edits_match_a_list(dataset, key):
    samples, expected = dataset
    key, meaning = KEYS[key]
    meant = [meaning % COUNT] if isinstance(meaning, int) else meaning
    new = expected[: len(meant)][::-1]

    samples[key] = new[0] if isinstance(meaning, int) else new
    for index, sample in zip(meant, new, strict=True):
        expected[index] = sample
    assert values(samples) == values(expected)

    if isinstance(meaning, int):
        assert value(samples.pop(key)) == value(expected[meaning])
    else:
        del samples[key]
    assert values(samples) == values([expected[index] for index in NUMBERS if index not in meant])


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("key", KEYS)
def test_wrong_keys_edit_nothing(made, name, key):
    samples, (key, meaning) = made[name], KEYS[key]

    if is_error(meaning):
        check_error(meaning, operator.setitem, samples, key, DATASETS[name][1][:2])
        check_error(meaning, operator.delitem, samples, key)
    if not isinstance(meaning, int):
        check_error((IndexError, TypeError), samples.pop, key)
    assert values(samples) == values(DATASETS[name][1])


@pytest.mark.parametrize("key", [name for name in WRONG if name != "past 64 bits"])
def test_every_sequence_raises_the_same_for_a_wrong_key(made, key):
    key, meaning = KEYS[key]
    messages = set()

    for name, samples in made.items():
        if name not in FOLLOWS_NUMPY | HAS_NAMES:
            with pytest.raises(meaning) as raised:
                samples[key]
            message, _, _ = str(raised.value).partition("; this ")  # handles say more: which commit they show
            messages.add(message.replace("windows", "samples"))

    assert len(messages) == 1


def test_indices_far_below_select_nothing(tmp_path):
    """A bug once: select([-11]) of ten samples was sample 9, since Python and the kernel both counted from the end."""
    texts = StringsMmap.from_strings(tmp_path / "ds", TEXTS)

    with pytest.raises(IndexError, match=r"^index -6 is out of range for 5 samples; this handle"):
        texts.select([-6])


def test_array_takes_a_tensor_of_one_element_for_a_list(tmp_path):
    numbers = ArrayMmap.from_generator(tmp_path / "ds", ARRAYS)

    assert numbers[Tensor([2])].tolist() == [ARRAYS[2].tolist()]
    assert numbers[Tensor(2)].tolist() == ARRAYS[2].tolist()
    assert numbers[True].shape == (1, COUNT, 3)
