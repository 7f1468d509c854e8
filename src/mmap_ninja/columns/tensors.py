"""PyTorch's tensors as arrays, also those whose dtype NumPy does not know, but ml_dtypes does."""

import re
import sys
from typing import Any, Final

from mmap_ninja.columns.dtypes import ml_dtype

_ML_DTYPE: Final = re.compile(r"bfloat16|float8_\w+")


def as_array(tensor: Any, where: str) -> Any:
    """A tensor as an array over the same memory.

    Raises:
        TypeError: if it requires grad, is not in the memory of the CPU, or has another unknown dtype.
        ImportError: if its dtype is one of ml_dtypes, and that is not installed.
    """
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
