"""PyTorch: a `Loader` whose batches are tensors, and datasets that its `DataLoader` reads in whole batches."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed
import torch.utils.data
from torch.utils.data._utils.collate import default_collate_fn_map

from mmap_ninja.integrations._loaders import Options, process_of
from mmap_ninja.kinds.loadable import Collate
from mmap_ninja.kinds.nulls import Nulls
from mmap_ninja.loading import loader
from mmap_ninja.loading.collate import Forms, Pad, check_samples, reader_of

_FROM_INTEGERS: Final = ("bfloat16", "float8_e4m3fn", "float8_e5m2")  # dtypes that NumPy has from ml_dtypes


class Loader(loader.Loader):
    """`mmap_ninja.Loader` with tensors in the place of NumPy arrays.

    They share the memory of the arrays. What PyTorch has no dtype for, such as dates, stays an array.

    Args:
        dataset: As for `mmap_ninja.Loader`.
        batch_size: Likewise.
        pin_memory: Whether batches are in page-locked memory, from where they are copied to a GPU beside its work.
        device: Where batches are copied to, page-locked on their way to a GPU; None: they stay in the CPU's memory.
            Unless `num_threads` says otherwise, a thread makes and copies the next batch while your loop uses this one.
        rank: The number of this process; None: that of `torch.distributed` if it is initialised, else 0.
        world_size: How many processes there are; None: likewise, else 1.
        options: The other arguments of `mmap_ninja.Loader`. `transform` gets NumPy arrays, and may return tensors.

    Raises:
        TypeError: from the iteration, if a batch holds a masked array, since a tensor would drop its mask.

    Example:
        >>> import mmap_ninja as mn
        >>> from mmap_ninja.integrations.torch import Loader
        >>> samples = mn.ArrayMmap.from_generator("samples", range(4))
        >>> next(iter(Loader(samples, batch_size=4)))
        tensor([0, 1, 2, 3])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = None,
        *,
        pin_memory: bool = False,
        device: torch.device | str | int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        rank, world_size = process_of(rank, world_size, _process)
        self._device: torch.device | None = None if device is None else torch.device(device)
        if self._device is not None and options.get("num_threads") is None:
            options["num_threads"] = 1
        super().__init__(dataset, batch_size, rank=rank, world_size=world_size, **options)
        self._convert = functools.partial(_sent, self._device, pin_memory)

    def _handed_out(self, batch: Any) -> Any:
        if not isinstance(batch, _Sent):
            return batch
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(batch.event)  # the device waits for the copy, not this thread

        def used(tensor: torch.Tensor) -> torch.Tensor:
            tensor.record_stream(stream)  # so that its memory is not reused before
            return tensor

        return _mapped(batch.batch, torch.Tensor, used)


def _process() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


class _Sent(NamedTuple):
    """A batch that a stream copies to a GPU, and the event at its end."""

    batch: Any
    event: torch.cuda.Event


def _sent(device: torch.device | None, pin_memory: bool, batch: Any) -> Any:
    """A batch of tensors, where they are wanted, or on their way there."""
    batch = tensors(batch)
    is_beside = device is not None and device.type == "cuda"
    if pin_memory or is_beside:
        batch = _mapped(batch, torch.Tensor, torch.Tensor.pin_memory)
    if device is None:
        return batch
    if not is_beside:
        return _mapped(batch, torch.Tensor, lambda tensor: tensor.to(device))
    stream = _copies(device)
    with torch.cuda.stream(stream):
        batch = _mapped(batch, torch.Tensor, lambda tensor: tensor.to(device, non_blocking=True))
        return _Sent(batch, stream.record_event())


@functools.cache
def _copies(device: torch.device) -> torch.cuda.Stream:
    """The stream of the copies to a GPU."""
    return torch.cuda.Stream(device)


def tensors(batch: Any) -> Any:
    """A batch with tensors in the place of its arrays, whose memory they share where it can be written to.

    Args:
        batch: An array, or a dict, list or tuple that holds some. Other values stay as they are, and so do arrays of a
            dtype that PyTorch does not have, such as dates.

    Returns:
        A batch of the same structure.

    Raises:
        TypeError: if an array is masked, since a tensor would drop its mask.

    Example:
        >>> import numpy as np
        >>> from mmap_ninja.integrations.torch import tensors
        >>> tensors({"x": np.arange(3), "text": ["a"]})
        {'x': tensor([0, 1, 2]), 'text': ['a']}
    """
    return _mapped(batch, np.ndarray, _tensor)


def _tensor(array: npt.NDArray[Any]) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("the batch holds nulls under a mask, which a tensor would drop: say by `fill` what they are")
    if not array.flags.writeable or not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.isbuiltin == 2 and array.dtype.name in _FROM_INTEGERS:  # 2: not one of NumPy's; names take long
        return torch.from_numpy(array.view(f"u{array.itemsize}")).view(getattr(torch, array.dtype.name))
    try:
        return torch.from_numpy(array)
    except TypeError:
        return array


def _mapped(batch: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """A batch of the same structure; a function is called with whatever is of a type."""
    if isinstance(batch, kind):
        return function(batch)
    if isinstance(batch, Mapping):
        return {name: _mapped(value, kind, function) for name, value in batch.items()}
    if isinstance(batch, tuple):
        values = [_mapped(value, kind, function) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else tuple(values)
    if isinstance(batch, list) and not isinstance(next(iter(batch), ""), str | bytes):
        return [_mapped(value, kind, function) for value in batch]
    return batch


class _Batch(NamedTuple):
    """A whole batch, in the list of samples that `DataLoader` expects."""

    values: Any


class _Dataset(torch.utils.data.Dataset[Any]):
    """A dataset that gives `DataLoader` whole batches."""

    def __init__(self, samples: Any, forms: Forms) -> None:
        check_samples(samples)
        self._samples = samples
        self._forms = forms
        self._read = reader_of(samples, forms)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        return self._samples[index]

    def __getitems__(self, indices: Sequence[int]) -> list[_Batch]:
        return [_Batch(self._read(np.asarray(indices, np.int64)))]

    def __getstate__(self) -> tuple[Any, Forms]:
        return self._samples, self._forms

    def __setstate__(self, state: tuple[Any, Forms]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"as_dataset({self._samples!r})"


def _collate(batch: Sequence[_Batch], **_: Any) -> Any:
    return tensors(batch[0].values)


default_collate_fn_map[_Batch] = _collate


def as_dataset(
    dataset: Any,
    *,
    collate: Collate = "auto",
    pad: Pad | Mapping[str, Pad] | None = None,
    nulls: Nulls = "raise",
    fill: Any = None,
) -> torch.utils.data.Dataset[Any]:
    """A dataset for PyTorch's `DataLoader`, which reads each batch by one native call per column.

    `DataLoader` then has nothing to collate: leave its `collate_fn` out. It works with samplers, batch samplers and
    workers. For a `collate_fn` of your own, which gets a list of samples, pass the dataset itself to `DataLoader`.

    Args:
        dataset: A dataset, a view, a `concat`, windows, or any list.
        collate: The form of batches, as for `mmap_ninja.Loader`.
        pad: How ragged samples are padded, as for `mmap_ninja.Loader`.
        nulls: What a null of a nullable column becomes, as for `mmap_ninja.Loader`.
        fill: A value for nulls, as for `mmap_ninja.Loader`.

    Returns:
        A map-style dataset; `dataset[i]` is the sample.

    Example:
        >>> import mmap_ninja as mn
        >>> from mmap_ninja.integrations.torch import as_dataset
        >>> from torch.utils.data import DataLoader
        >>> train = mn.RecordsMmap.from_generator("train", ({"text": str(k), "label": k} for k in range(4)))
        >>> next(iter(DataLoader(as_dataset(train), batch_size=2)))
        {'text': ['0', '1'], 'label': tensor([0, 1])}
    """
    return _Dataset(dataset, Forms(collate, pad, nulls, fill))
