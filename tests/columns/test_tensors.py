"""PyTorch's tensors are stored, also those whose dtype only ml_dtypes knows; or refused with a reason."""

import sys

import ml_dtypes
import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, IncompleteDatasetWarning, RaggedMmap, RecordsMmap

torch = pytest.importorskip("torch")

NAMES = ["bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]


def tensor(name="bfloat16", shape=(2, 3)):
    """1, 2, 4, ... as a tensor."""
    return (2.0 ** torch.arange(np.prod(shape)).reshape(shape)).to(getattr(torch, name))


def array(name="bfloat16", shape=(2, 3)):
    """The same as an array."""
    return (2.0 ** np.arange(np.prod(shape)).reshape(shape)).astype(getattr(ml_dtypes, name))


def same(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_tensor_is_stored_with_its_dtype(tmp_path, name):
    rows = RaggedMmap.from_lists(tmp_path / "rows", [tensor(name), tensor(name, (4,))])
    images = ArrayMmap.from_generator(tmp_path / "images", [tensor(name)] * 2)

    assert same(rows[0], array(name))
    assert same(rows[1], array(name, (4,)))
    assert same(images[1], array(name))
    assert images.dtype == ArrayMmap(tmp_path / "images").dtype == np.dtype(getattr(ml_dtypes, name))


def test_tensor_is_stored_by_whatever_takes_samples(tmp_path):
    whole = tensor(shape=(3, 2))
    expected = array(shape=(3, 2))
    dataset = ArrayMmap.from_ndarray(tmp_path / "array", whole)

    dataset.append(whole[0])
    dataset.extend(whole)
    dataset.extend([whole[1], whole[2]])
    dataset[1] = whole[2]
    dataset[:2] = whole[:2]
    dataset[5:7] = [whole[0], whole[1]]

    assert same(dataset[:], expected[[0, 1, 2, 0, 0, 0, 1, 1, 2]])
    memmap = mn.np_from_ndarray(tmp_path / "memmap", whole)
    mn.np_append(memmap, whole[0])
    mn.np_extend(memmap, whole[1:])
    assert same(np.asarray(mn.np_open_existing(tmp_path / "memmap")), expected[[0, 1, 2, 0, 1, 2]])
    resumed = RaggedMmap.from_generator(tmp_path / "memory", whole.unbind())
    assert [sample.tolist() for sample in resumed] == expected.tolist()


def test_tensor_of_any_layout_is_stored(tmp_path):
    samples = [tensor().T, tensor()[:, ::2], tensor(shape=())]

    rows = RaggedMmap.from_lists(tmp_path / "ds", [*samples, torch.empty(0, 3, dtype=torch.bfloat16)])

    assert same(rows[0], array().T)
    assert same(rows[1], array()[:, ::2])
    assert same(rows[2], array(shape=()))
    assert rows[3].shape == (0, 3)


def test_lists_of_tensors_are_one_sample(tmp_path):
    samples = [list(tensor()), [[tensor(shape=(3,))] * 2] * 2, list(tensor()[0]), [1.0, tensor(shape=())]]

    rows = RaggedMmap.from_lists(tmp_path / "ds", samples, dtype=ml_dtypes.bfloat16)

    assert same(rows[0], array())
    assert rows[1].shape == (2, 2, 3)
    assert same(rows[2], array()[0])
    assert rows[3].tolist() == [1, 1]


def test_tensors_are_fields_of_records(tmp_path):
    record = {"rows": tensor(), "list": list(tensor(shape=(3,))), "of": {"number": tensor(shape=())}}
    columns = {"rows": tensor(shape=(4, 2)), "fixed": tensor(shape=(4, 2))}
    spec = {"rows": mn.Ragged(ml_dtypes.bfloat16), "fixed": mn.Array((2,), ml_dtypes.bfloat16)}

    records = RecordsMmap.from_generator(tmp_path / "records", [record])
    table = RecordsMmap.from_columns(tmp_path / "table", columns, columns=spec)
    table.extend(columns)
    records.add_column("more", [tensor()])

    assert same(records[0]["rows"], array())
    assert same(records[0]["list"], array(shape=(3,)))
    assert same(records[0]["more"], array())
    assert records[0]["of"]["number"] == 1
    assert same(table["fixed"][4:], array(shape=(4, 2)))
    assert same(table["rows"][7], array(shape=(4, 2))[3])


def test_build_of_tensors_is_resumed(tmp_path):
    def samples(stop):
        for number in range(5):
            if number == stop:
                raise RuntimeError("stopped")
            yield tensor(shape=(number + 1,))

    with pytest.raises(RuntimeError, match="stopped"):
        RaggedMmap.from_generator(tmp_path / "ds", samples(3), batch_size=1)
    with pytest.warns(IncompleteDatasetWarning):
        assert len(RaggedMmap(tmp_path / "ds")) == 3

    resumed = RaggedMmap.from_generator(tmp_path / "ds", samples(None), if_exists="resume")

    assert [sample.tolist() for sample in resumed] == [array(shape=(number + 1,)).tolist() for number in range(5)]


def test_tensor_of_a_dtype_that_numpy_knows_is_stored_as_before(tmp_path):
    for number, name in enumerate(["float32", "float16", "int64", "uint8", "bool", "complex64"]):
        sample = torch.ones(3, dtype=getattr(torch, name))
        assert RaggedMmap.from_lists(tmp_path / f"{number}", [sample])[0].dtype == name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.ones(2, requires_grad=True), "the tensor requires grad, .*; store sample.detach\\(\\) instead"),
        (lambda: tensor().requires_grad_(), "the tensor requires grad, .*; store sample.detach\\(\\) instead"),
        (lambda: torch.empty(2, device="meta"), "can't convert meta device type tensor to numpy"),
        (lambda: tensor().to("meta"), "can't convert meta device type tensor to numpy"),
        (lambda: torch.ones(2).to_sparse(), "can't convert Sparse layout tensor to numpy"),
        (
            lambda: torch.ones(2, dtype=torch.complex64).conj(),
            "Can't call numpy\\(\\) on Tensor that has conjugate bit",
        ),
        (lambda: torch.zeros(2, dtype=torch.uint8).view(torch.bits8), ".*unsupported ScalarType"),
    ],
)
def test_tensor_that_cannot_be_stored_is_named_with_the_reason(tmp_path, make, message):
    dataset = RaggedMmap(tmp_path / "ds")
    records = RecordsMmap(tmp_path / "records")

    for sample in (make(), [make()]):
        with pytest.raises(TypeError, match=f"ds: sample 1: {message}"):
            dataset.extend([torch.ones(1), sample])
        with pytest.raises(TypeError, match=f"records: column 'x': sample 0: {message}"):
            records.append({"x": sample})

    assert not (tmp_path / "ds").exists()


def test_missing_package_of_the_dtype_is_named_with_its_extra(tmp_path, monkeypatch):
    RaggedMmap.from_lists(tmp_path / "stored", [tensor()])
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)

    with pytest.raises(ImportError, match=r'dtype bfloat16 .*: pip install "mmap_ninja\[dtypes\]"'):
        RaggedMmap.from_lists(tmp_path / "ds", [tensor()])
    with pytest.raises(ImportError, match=r'dtype bfloat16 .*: pip install "mmap_ninja\[dtypes\]"'):
        RaggedMmap(tmp_path / "stored")
