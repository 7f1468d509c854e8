"""Edits compared with a plain list: replacing, deleting and compacting, for all kinds, by several handles."""

import os
import pickle
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmap_ninja
from mmap_ninja import ArrayMmap, CorruptDatasetError, RaggedMmap, ReadOnlyError, StaleHandleError, StringsMmap
from support.faults import flip_bit, overwrite
from support.golden import GOLDEN
from support.kinds import KINDS as STORED
from support.kinds import plain as exact

# Records are tested elsewhere, and a sample of mixed ranks cannot be replaced by just any other.
KINDS = {name: kind for name, kind in STORED.items() if name not in ("records", "ragged-mixed")}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def built(kind, path, count):
    """A dataset of a kind and the list of its samples."""
    return kind.build(path, count), kind.samples(count)


def plain(samples):
    """Samples as values that can be compared."""
    return [sample.tolist() if hasattr(sample, "tolist") else sample for sample in samples]


def check_same(dataset, expected):
    """Check that a dataset equals a list, in all ways to read it."""
    expected = plain(expected)
    count = len(expected)
    order = np.random.default_rng(count).permutation(count)

    assert len(dataset) == count
    assert plain(dataset) == expected
    assert [*plain(dataset[index] for index in range(count))] == expected
    assert plain(dataset.take(order)) == [expected[index] for index in order]
    assert plain(dataset[::2]) == expected[::2]
    assert plain(reversed(dataset)) == expected[::-1]
    assert plain(dataset.select(slice(1, None, 2))) == expected[1::2]
    assert plain(dataset.select(order)) == [expected[index] for index in order]
    assert plain(dataset.select(slice(None)).select(slice(None, None, -2))) == expected[::-2]
    if count:
        assert plain([dataset[-1]]) == expected[-1:]
        assert dataset.index(dataset[count // 2]) == exact(dataset).index(exact(dataset[count // 2]))


# ---- a list


def test_edits_are_those_of_a_list(tmp_path, kind):
    dataset, samples = built(kind, tmp_path / "ds", 30)
    make = kind.sample

    dataset[3] = samples[3] = make(103)
    dataset[-1] = samples[-1] = make(107)
    dataset[3] = samples[3] = make(106)
    del dataset[0], samples[0]
    del dataset[5:9], samples[5:9]
    dataset[2:4] = samples[2:4] = [make(201), make(205)]
    dataset.append(make(300))
    samples.append(make(300))
    del dataset[-2:], samples[-2:]
    assert plain([dataset.pop(4)]) == plain([samples.pop(4)])
    del dataset[::3], samples[::3]
    dataset[[0, 2]] = [make(7), make(8)]
    samples[0], samples[2] = make(7), make(8)

    check_same(dataset, samples)
    check_same(kind.cls(tmp_path / "ds"), samples)
    check_same(pickle.loads(pickle.dumps(dataset)), samples)
    assert dataset.garbage > 0
    dataset.compact()
    check_same(dataset, samples)
    check_same(kind.cls(tmp_path / "ds"), samples)
    assert dataset.garbage == 0


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["append", "extend", "set", "set slice", "set list", "delete", "delete slice", "delete mask", "pop",
             "compact", "order", "reopen", "refresh", "clear"]
        ),
        st.integers(-5, 40),
        st.integers(-5, 40),
    ),
    max_size=25,
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
@given(operations=OPERATIONS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_edits_are_those_of_a_list(tmp_path, name, operations):
    kind = KINDS[name]
    cls, make = kind.cls, kind.sample
    shutil.rmtree(tmp_path / "ds", ignore_errors=True)
    dataset, samples = built(kind, tmp_path / "ds", 12)
    other = cls(tmp_path / "ds")

    for operation, first, second in operations:
        count = len(samples)
        at, piece = first % max(count, 1), slice(min(first, second), max(first, second), 1)
        places = range(count)[piece]
        match operation:
            case "append":
                dataset.append(make(first + 100))
                samples.append(make(first + 100))
            case "extend":
                dataset.extend([make(second + 100)] * abs(first % 4))
                samples += [make(second + 100)] * abs(first % 4)
            case "set" if count:
                dataset[at] = samples[at] = make(second + 100)
            case "set slice":
                new = [make(place + 200) for place in places]
                dataset[piece] = new
                samples[piece] = new
            case "set list" if count:
                dataset[[at, second % count, at]] = [make(301), make(302), make(304)]
                for place, number in ((at, 301), (second % count, 302), (at, 304)):
                    samples[place] = make(number)
            case "delete" if count:
                del dataset[at], samples[at]
            case "delete slice":
                del dataset[piece], samples[piece]
            case "delete mask":
                mask = np.array([place % 3 == first % 3 for place in range(count)], bool)
                del dataset[mask]
                samples = [sample for sample, gone in zip(samples, mask, strict=True) if not gone]
            case "pop" if count:
                assert plain([dataset.pop(at)]) == plain([samples.pop(at)])
            case "compact":
                dataset.compact()
            case "order":
                order = np.random.default_rng(abs(first)).permutation(count)
                dataset.compact(order=order)
                samples = [samples[place] for place in order]
            case "reopen":
                dataset = cls(tmp_path / "ds")
            case "refresh":
                other.refresh()
                assert plain(other) == plain(samples)
                dataset, other = other, dataset
            case "clear":
                dataset.clear()
                samples.clear()
        assert plain(dataset) == plain(samples)

    check_same(dataset, samples)
    check_same(mmap_ninja.open(tmp_path / "ds"), samples)


def test_many_edits_are_the_same_after_reopening(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", map(str, range(5000)))
    expected = [str(number) for number in range(5000)]
    random = np.random.default_rng(0)

    for _ in range(1500):
        at = int(random.integers(len(expected)))
        if random.random() < 0.5:
            del texts[at], expected[at]
        else:
            texts[at] = expected[at] = "new" * int(random.integers(3))

    assert list(texts) == list(StringsMmap(tmp_path / "ds")) == expected
    assert texts.take(slice(None)) == expected


def test_delete_across_many_replaced_samples_opens_at_once(tmp_path):
    """A bug once: the time was quadratic in the lines, here 19 s, since each line copied the list of all chunks."""
    expected = np.arange(300_000)
    numbers = ArrayMmap.from_ndarray(tmp_path / "ds", expected)
    places = np.random.default_rng(0).permutation(len(expected))
    numbers[places] = expected[places] = -places
    del numbers[1000:1003]
    expected = np.delete(expected, range(1000, 1003))

    begin = time.process_time()
    reopened = ArrayMmap(tmp_path / "ds")
    took = time.process_time() - begin

    assert took < 5
    assert np.array_equal(numbers[:], expected)
    assert np.array_equal(reopened[:], expected)


# ---- what others see


def test_views_and_readers_keep_their_snapshot(tmp_path, kind):
    dataset, samples = built(kind, tmp_path / "ds", 10)
    view, chosen, reader = dataset.select(slice(2, 8)), dataset.select([9, 0]), kind.cls(tmp_path / "ds", mode="r")
    iterator = iter(dataset)
    next(iterator)

    del dataset[0:5]
    dataset[0] = kind.sample(50)
    dataset.compact()

    assert plain(view) == plain(samples[2:8])
    assert plain(chosen) == plain([samples[9], samples[0]])
    assert plain(reader) == plain(samples)
    assert plain(iterator) == plain(samples[1:])
    reader.refresh()
    assert plain(reader) == plain([kind.sample(50), *samples[6:]])


def test_view_of_edited_dataset_pickles_to_the_same_samples(tmp_path, kind):
    dataset, samples = built(kind, tmp_path / "ds", 20)
    del dataset[3:6]
    dataset[2] = kind.sample(99)
    expected = [*samples[:2], kind.sample(99), *samples[6:]]
    views = [dataset, dataset.select(slice(1, 9, 3)), dataset.select([2, 0, 5])]
    pickled = [pickle.dumps(view) for view in views]

    del dataset[0:4]
    restored = [pickle.loads(data) for data in pickled]

    assert plain(restored[0]) == plain(expected)
    assert plain(restored[1]) == plain(expected[1:9:3])
    assert plain(restored[2]) == plain([expected[place] for place in (2, 0, 5)])
    dataset.compact()
    with pytest.raises(StaleHandleError, match="its files were written anew since, as by compact"):
        pickle.loads(pickled[0])


def test_two_handles_edit_in_turn(tmp_path, kind):
    one, samples = built(kind, tmp_path / "ds", 12)
    other = kind.cls(tmp_path / "ds")

    del one[0]
    other[5] = kind.sample(77)  # sample 5 of its snapshot, sample 4 in the first handle's list
    one[-1] = kind.sample(78)

    samples[5], samples[-1] = kind.sample(77), kind.sample(78)
    assert plain(one) == plain(samples[1:])
    assert plain(other) != plain(one)
    other.refresh()
    assert plain(other) == plain(one)


def test_edit_of_a_sample_that_was_deleted_raises_and_writes_nothing(tmp_path, kind):
    one, samples = built(kind, tmp_path / "ds", 8)
    other = kind.cls(tmp_path / "ds")
    del one[3]

    for edit in (lambda: other.__setitem__(3, kind.sample(9)), lambda: other.__delitem__([1, 3]), lambda: other.pop(3)):
        with pytest.raises(StaleHandleError, match=r"ds: the sample of row 3 was deleted after this handle's snapshot"):
            edit()

    assert plain(other) == plain(samples)
    assert plain(pickle.loads(pickle.dumps(other))) == plain(samples)
    assert plain(other.select(slice(2, 5))) == plain(samples[2:5])
    assert plain(kind.cls(tmp_path / "ds")) == plain(samples[:3] + samples[4:])


@pytest.mark.parametrize("renew", [lambda ds: ds.compact(order=np.arange(7)[::-1]), lambda ds: ds.clear()])
def test_edit_after_rows_were_renumbered_raises(tmp_path, kind, renew):
    one, _ = built(kind, tmp_path / "ds", 8)
    other = kind.cls(tmp_path / "ds")
    del one[3]
    renew(one)
    before = plain(one)

    with pytest.raises(StaleHandleError, match="was replaced or compacted after this handle's snapshot"):
        other[0] = kind.sample(9)
    with pytest.raises(StaleHandleError, match="nothing was deleted: call refresh"):
        del other[7]

    assert plain(kind.cls(tmp_path / "ds")) == before
    other.append(kind.sample(9))  # which needs no index
    assert plain(other) == [*before, *plain([kind.sample(9)])]


@pytest.mark.parametrize("edit", ["replace", "delete"])
def test_edit_whose_samples_are_moved_by_the_caller_meanwhile_writes_nothing_wrong(tmp_path, edit):
    ds = StringsMmap.from_strings(tmp_path / "ds", [f"text {number}" for number in range(10)])
    del ds[:3]

    class Key:
        def __len__(self):
            return 1

        def __getitem__(self, place):
            if place:
                raise IndexError
            ds.compact()
            return 6

    def values():
        ds.compact()
        yield "new"

    if edit == "replace":
        ds[[6]] = values()  # which are read before the edit begins
        expected = [*(f"text {number}" for number in range(3, 9)), "new"]
    else:
        with pytest.raises(RuntimeError, match="this thread is already changing the dataset"):
            del ds[Key()]
        expected = [f"text {number}" for number in range(3, 10)]
    assert list(ds) == list(StringsMmap(tmp_path / "ds")) == expected


def test_sample_that_compacts_while_it_is_encoded_is_not_stored(tmp_path):
    ds = ArrayMmap.from_generator(tmp_path / "ds", np.arange(10))
    del ds[:3]

    class Sample:
        def __array__(self, dtype=None, copy=None):
            ds.compact()
            return np.asarray(7)

    with pytest.raises(RuntimeError, match="this thread is already changing the dataset"):
        ds[6] = Sample()
    assert list(ds) == list(ArrayMmap(tmp_path / "ds")) == list(range(3, 10))


def test_edits_by_threads_of_one_handle_that_compacts_change_their_samples(tmp_path):
    ds = StringsMmap.from_strings(tmp_path / "ds", [f"text {number}" for number in range(400)])
    ds.append("last")

    def compact():
        for _ in range(40):
            ds.compact()

    def edit():
        for number in range(200):
            ds[-1] = f"last {number}"
            del ds[0]

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(compact), pool.submit(edit)]:
            done.result()
    assert list(ds) == list(StringsMmap(tmp_path / "ds")) == [*(f"text {n}" for n in range(200, 400)), "last 199"]


def test_edit_after_replacement_by_another_dataset_raises(tmp_path):
    other = StringsMmap.from_strings(tmp_path / "ds", ["a", "b"])
    StringsMmap.from_strings(tmp_path / "ds", ["c", "d"])

    with pytest.raises(StaleHandleError, match="was replaced or compacted"):
        del other[0]

    assert list(StringsMmap(tmp_path / "ds")) == ["c", "d"]


def test_order_of_a_dataset_that_others_changed_raises(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "b"])
    StringsMmap(tmp_path / "ds").append("c")

    with pytest.raises(StaleHandleError, match="for which the order was made; nothing was compacted"):
        texts.compact(order=[1, 0])

    assert list(StringsMmap(tmp_path / "ds")) == ["a", "b", "c"]


# ---- changes of columns below edits


def test_ranks_widen_beneath_edits(tmp_path):
    rows = RaggedMmap.from_lists(tmp_path / "ds", [[1, 2], [3], [4, 5, 6]])
    del rows[0]
    rows[0] = [7, 8, 9]
    other = RaggedMmap(tmp_path / "ds")

    rows.append(np.ones((2, 2), int))
    del other[1]

    assert plain(other) == [[7, 8, 9], [[1, 1], [1, 1]]]
    assert plain(RaggedMmap(tmp_path / "ds")) == plain(other)


def test_replacement_of_another_rank_raises(tmp_path):
    rows = RaggedMmap.from_lists(tmp_path / "ds", [[[1, 2]], [[3, 4]]])

    for wrong in (5, [1, 2]):
        with pytest.raises(
            ValueError, match=r"ds: sample 0 has shape \(1, 2\), its replacement has rank \d; give it rank 2"
        ):
            rows[0] = wrong

    assert plain(rows) == [[[1, 2]], [[3, 4]]]


def test_directory_of_0x_is_upgraded_by_its_first_edit(tmp_path):
    shutil.copytree(GOLDEN / "0.9.0-strings", tmp_path / "ds")
    texts = StringsMmap(tmp_path / "ds")
    expected = list(texts)

    texts[1] = expected[1] = "a longer text than before"
    del texts[0], expected[0]

    assert (tmp_path / "ds" / "COMMIT").exists()
    assert list(texts) == list(StringsMmap(tmp_path / "ds")) == expected


# ---- space


def test_compact_gives_space_back(tmp_path, kind):
    dataset, samples = built(kind, tmp_path / "ds", 3000)
    del dataset[100:2900]

    def size():
        return sum(file.stat().st_size for file in (tmp_path / "ds").iterdir())

    before, garbage = size(), dataset.garbage
    dataset.compact(verbose=True)

    assert 0 <= before - size() - garbage <= 24 * 10  # and sums of removed blocks
    assert plain(dataset) == plain(samples[:100] + samples[2900:])
    generations = {name.rsplit("-", 1)[-1].removesuffix(".json") for name in os.listdir(tmp_path / "ds") if "-" in name}
    assert len(generations) == 1


def test_compact_without_garbage_changes_nothing(tmp_path, kind):
    dataset, _ = built(kind, tmp_path / "ds", 5)
    before = sorted(os.listdir(tmp_path / "ds"))

    dataset.compact()

    assert sorted(os.listdir(tmp_path / "ds")) == before


def test_garbage_counts_bytes_that_no_sample_needs(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["aaaa", "bb", "c"])

    garbage = [texts.garbage]
    texts[0] = "dddddd"  # 4 bytes and an offset
    garbage.append(texts.garbage)
    del texts[0]  # 6 more bytes and an offset
    garbage.append(texts.garbage)

    assert garbage == [0, 32 + 4 + 8, 2 * 32 + 4 + 8 + 6 + 8]
    assert texts.nbytes == 3


def test_clear_leaves_an_empty_dataset_of_the_same_columns(tmp_path, kind):
    dataset, samples = built(kind, tmp_path / "ds", 5)

    dataset.clear()
    dataset.append(samples[3])

    assert plain(dataset) == plain(kind.cls(tmp_path / "ds")) == plain(samples[3:4])
    assert getattr(dataset, "dtype", None) == getattr(built(kind, tmp_path / "other", 5)[0], "dtype", None)


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [0, 1, 3], [0, 1, -4], [0, 1, -1], [2**70, 0, 1], [[0, 1, 2]]])
def test_order_that_is_not_a_permutation_raises(tmp_path, order):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "b", "c"])

    with pytest.raises(ValueError, match=r"ds: order: .*expected each position from 0 to 2 once, as np\.argsort gives"):
        texts.compact(order=order)

    assert list(texts) == ["a", "b", "c"]


def test_order_of_other_than_integers_raises(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "b", "c"])

    with pytest.raises(TypeError, match="index array of float64: expected integers"):
        texts.compact(order=[0.0, 1.0, 2.0])

    assert list(texts) == ["a", "b", "c"]


def test_memmap_of_edited_dataset_is_refused_until_compact(tmp_path):
    array = ArrayMmap.from_ndarray(tmp_path / "ds", np.arange(6).reshape(3, 2))
    del array[0]

    with pytest.raises(ValueError, match=r"ds: samples were deleted or replaced.*call ArrayMmap.compact"):
        mmap_ninja.np_open_existing(tmp_path / "ds")
    array.compact()

    assert mmap_ninja.np_open_existing(tmp_path / "ds").tolist() == [[2, 3], [4, 5]]


def test_compact_seals_an_array_that_was_mapped_writable(tmp_path):
    mmap_ninja.np_from_ndarray(tmp_path / "ds", np.arange(6).reshape(3, 2))
    array = ArrayMmap(tmp_path / "ds")

    array.compact()

    assert '"sealed": true' in next((tmp_path / "ds").glob("meta-*.json")).read_text()
    assert array[:].tolist() == [[0, 1], [2, 3], [4, 5]]


# ---- bad input


@pytest.mark.parametrize("key", [8, -9, 2**63, -(2**70), [0, 8], np.array([9])])
def test_edit_out_of_range_raises(tmp_path, kind, key):
    dataset, samples = built(kind, tmp_path / "ds", 8)

    with pytest.raises(IndexError, match="is out of range for 8 samples"):
        del dataset[key]
    with pytest.raises(IndexError, match="is out of range for 8 samples"):
        dataset[key] = [samples[0]] * np.size(key)

    assert plain(kind.cls(tmp_path / "ds")) == plain(samples)


@pytest.mark.parametrize("key", ["a", 1.0, None, True, (0, 1), {0}, [0.5], [[0]]])
def test_edit_by_an_invalid_index_raises(tmp_path, key):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "b"])

    with pytest.raises((TypeError, IndexError), match="index"):
        del texts[key]
    with pytest.raises((TypeError, IndexError), match="index"):
        texts[key] = ["c"]

    assert list(texts) == ["a", "b"]


@pytest.mark.parametrize("values", [[], ["x"], ["x"] * 4])
def test_slice_of_another_length_raises(tmp_path, values):
    texts = StringsMmap.from_strings(tmp_path / "ds", list("abcde"))

    with pytest.raises(ValueError, match=rf"ds: {len(values)} samples for 3 places; give one for each"):
        texts[1:4] = values

    assert list(StringsMmap(tmp_path / "ds")) == list("abcde")


def test_replacement_of_another_type_or_shape_stores_nothing(tmp_path, kind):
    dataset, samples = built(kind, tmp_path / "ds", 4)
    wrong = np.zeros((2, 2, 2)) if kind.cls in (ArrayMmap, RaggedMmap) else 5

    with pytest.raises((TypeError, ValueError), match="ds: sample"):
        dataset[1] = wrong
    with pytest.raises((TypeError, ValueError), match="ds: sample"):
        dataset[0:2] = [samples[3], wrong]

    assert plain(kind.cls(tmp_path / "ds")) == plain(samples)


EDITS = [
    lambda ds: ds.__setitem__(0, "x"),
    lambda ds: ds.__delitem__(0),
    lambda ds: ds.pop(),
    lambda ds: ds.clear(),
    lambda ds: ds.compact(),
]


@pytest.mark.parametrize("edit", EDITS)
def test_edit_of_a_read_only_handle_raises(tmp_path, edit):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "b"])
    closed = StringsMmap(tmp_path / "ds")
    closed.close()

    with pytest.raises(ReadOnlyError, match="opened with mode 'r'"):
        edit(StringsMmap(tmp_path / "ds", mode="r"))
    with pytest.raises(ReadOnlyError, match="a view is read-only"):
        edit(texts.select([0, 1]))
    with pytest.raises(ValueError, match="the dataset is closed"):
        edit(closed)

    assert list(StringsMmap(tmp_path / "ds")) == ["a", "b"]


def test_edits_of_a_missing_dataset_make_none(tmp_path):
    texts = StringsMmap(tmp_path / "ds")

    with pytest.raises(IndexError):
        del texts[0]
    with pytest.raises(IndexError):
        texts[0] = "a"
    with pytest.raises(IndexError):
        texts.pop()
    del texts[:]
    texts[:] = []
    texts.clear()
    texts.compact()

    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize(
    "call",
    [lambda ds: ds.insert(0, "x"), lambda ds: ds.sort(), lambda ds: ds.reverse()],
    ids=["insert", "sort", "reverse"],
)
def test_moving_samples_names_compact(tmp_path, call):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "b"])

    with pytest.raises(TypeError, match=r"compact\(order=.*\)"):
        call(texts)


@pytest.mark.parametrize("index", [0, 1, -1])
@pytest.mark.parametrize("kind", ["strings", "bytes"])
def test_pop_of_a_sample_that_another_handle_replaced_deletes_what_it_returns(tmp_path, kind, index):
    """A bug once: it returned the sample that its handle showed, but deleted its replacement."""
    samples = KINDS[kind].samples(3, 1)
    dataset = KINDS[kind].build(tmp_path / "ds", 3, 1)
    other = mmap_ninja.open(tmp_path / "ds")
    samples[index] = other[index] = KINDS[kind].sample(11)

    try:
        assert dataset.pop(index) == samples.pop(index)
    except StaleHandleError:
        dataset.refresh()

    assert list(dataset) == list(mmap_ninja.open(tmp_path / "ds")) == samples


# ---- damage


@pytest.fixture
def edited(tmp_path):
    """A dataset with durable edits."""
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "bb", "ccc", "dddd"])
    del texts[1]
    texts[0] = "new"
    texts.close()
    return tmp_path / "ds"


@pytest.mark.parametrize(
    ("offset", "value"), [(0, 0), (0, 3), (8, 5), (8, 1 << 63), (16, 0), (16, 9), (32 + 24, 5), (32 + 24, 0)]
)
def test_damaged_edits_raise(edited, offset, value):
    overwrite(edited / "edits-1", offset, value.to_bytes(8, "little"))

    with pytest.raises(CorruptDatasetError, match=r"ds: line \d of its edits has row .*the edits file is damaged"):
        StringsMmap(edited)


def test_bit_flips_of_edits_crash_nothing(edited):
    for position in range(64 * 8):
        flip_bit(edited / "edits-1", position // 8, position % 8)
        try:
            texts = StringsMmap(edited)
            assert len(list(texts)) == len(texts) == len(texts.take(slice(None)))
        except CorruptDatasetError:
            pass
        flip_bit(edited / "edits-1", position // 8, position % 8)

    assert list(StringsMmap(edited)) == ["new", "ccc", "dddd"]
