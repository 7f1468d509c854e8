"""tensordict's memory-mapped tensors; ragged arrays as one nested tensor."""

import warnings

import numpy as np
import torch
from tensordict import TensorDict

from systems import store


class Tensors:
    def __init__(self, path):
        self.stored = TensorDict.load_memmap(str(path))
        self.tensor = self.stored["samples"]
        if not self.tensor.is_nested:
            self.tensor = self.tensor.as_subclass(torch.Tensor)

    def __len__(self):
        return self.tensor.size(0)

    def __getitem__(self, index):
        return self.tensor[index].numpy()

    def __iter__(self):
        return (row.numpy() for row in self.tensor.unbind(0))


class Stored:
    OPEN = Tensors

    def picklable(self):
        return self.samples.stored


class Ragged(Stored, store.OneByOne):
    LIMITS = {"index": 5000, "batches": 5120}

    @staticmethod
    def build(samples, path):
        warnings.simplefilter("ignore")  # nested tensors are called a prototype at each use
        _save(torch.nested.nested_tensor(list(map(torch.from_numpy, samples))), len(samples), path)


class Fixed(Stored, store.Arrays):
    BATCH_TYPE = np.ndarray

    def batches(self, batches):
        tensor = self.samples.tensor
        for batch in batches:
            yield torch.index_select(tensor, 0, torch.from_numpy(batch)).numpy()

    @staticmethod
    def build(samples, path):
        _save(torch.from_numpy(samples), len(samples), path)


def _save(tensor, length, path):
    TensorDict({"samples": tensor}, [length]).memmap(str(path))
