"""tensordict's memory-mapped tensors; ragged arrays as one nested tensor."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from tensordict import TensorDict

from systems.arrays.protocol import Rows

DISTRIBUTION = "tensordict"
SETTINGS = (
    "`TensorDict({...}).memmap(path)`, `TensorDict.load_memmap(path)`. Fixed: the `MemoryMappedTensor` seen as a plain "
    "tensor (`as_subclass`, 7 times as fast), `tensor[i].numpy()`, `torch.index_select`. Ragged: `torch.nested` "
    "in its strided layout, made from a list, `nested[i].numpy()`, iterated by `unbind`. No append. Not synced"
)


class Tensors:
    """The rows of a tensor as arrays."""

    def __init__(self, path: Path) -> None:
        self.stored = TensorDict.load_memmap(str(path))
        self.tensor = self.stored["samples"]
        if not self.tensor.is_nested:
            self.tensor = self.tensor.as_subclass(torch.Tensor)

    def __len__(self) -> int:
        return self.tensor.size(0)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.tensor[index].numpy()

    def __iter__(self) -> Iterator[np.ndarray]:
        return (row.numpy() for row in self.tensor.unbind(0))


class Store(Rows):
    """One tensor of a `TensorDict`."""

    def __init__(self, path: Path) -> None:
        super().__init__(Tensors(path))

    def picklable(self) -> object:
        return self.samples.stored


class Ragged(Store):
    """A nested tensor."""

    BATCH_TYPE = list
    LIMITS: ClassVar = {"index": 5000, "index_bare": 5000, "batches": 5120}

    def batches(self, batches: Sequence[list[int]]) -> Iterator[list[np.ndarray]]:
        samples = self.samples
        for batch in batches:
            yield [samples[index] for index in batch]

    @staticmethod
    def build(samples: Sequence[np.ndarray], path: Path) -> None:
        warnings.simplefilter("ignore")  # nested tensors are called a prototype at each use
        save(torch.nested.nested_tensor(list(map(torch.from_numpy, samples))), len(samples), path)


class Fixed(Store):
    """A plain tensor."""

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        tensor = self.samples.tensor
        for batch in batches:
            yield torch.index_select(tensor, 0, torch.from_numpy(batch)).numpy()

    @staticmethod
    def build(samples: np.ndarray, path: Path) -> None:
        save(torch.from_numpy(samples), len(samples), path)

    build_whole = build


def save(tensor: torch.Tensor, length: int, path: Path) -> None:
    """Write one tensor to files."""
    TensorDict({"samples": tensor}, [length]).memmap(str(path))
