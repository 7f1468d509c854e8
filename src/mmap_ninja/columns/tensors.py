"""PyTorch's tensors as arrays, also those whose dtype NumPy does not know, but ml_dtypes does."""

import re
import sys
from typing import Any, Final

from mmap_ninja.columns.dtypes import ml_dtype

_ML_DTYPE: Final = re.compile(r"bfloat16|float8_\w+")


def is_tensor(value: object) -> bool:
    """Whether a value is a tensor of PyTorch, which need not be imported for that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def as_arrays(value: Any, where: str) -> Any:
    """A tensor, or the tensors in lists, as arrays over the same memory; anything else as it is.

    Raises:
        TypeError: if a tensor requires grad, is not in the memory of the CPU, or has another unknown dtype.
        ImportError: if its dtype is one of ml_dtypes, and that is not installed.
    """
    if isinstance(value, list | tuple):
        return [as_arrays(item, where) for item in value]
    return _as_array(value, where) if is_tensor(value) else value


def _as_array(tensor: Any, where: str) -> Any:
    if tensor.requires_grad:
        raise TypeError(f"{where}: the tensor requires grad, which is not stored; store sample.detach() instead")
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        if not _ML_DTYPE.fullmatch(name):
            return tensor.numpy()
        torch = sys.modules["torch"]
        bits = torch.uint8 if tensor.element_size() == 1 else torch.int16
        return tensor.view(bits).numpy().view(ml_dtype(name))
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{where}: {error}; nothing of this batch was stored") from None
