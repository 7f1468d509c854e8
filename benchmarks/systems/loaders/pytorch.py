"""PyTorch's `DataLoader`, over datasets that a person writes, or over those of others.

PyTorch is imported where it is needed, since that takes seconds.
"""

# ruff: noqa: PLC0415


class Loaded:
    """Samples one by one, collated in this process, or in workers that stay for all epochs."""

    IMPORTS = ("torch.utils.data", "torch.nn.utils.rnn")
    OPTIONS = {"shuffle": True}
    collate = None

    def __init__(self, path, workers):
        self.loader = self.made(
            self.opened(path),
            batch_size=self.BATCH_SIZE,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=self.collate,
            **self.OPTIONS,
        )

    @staticmethod
    def made(dataset, **options):
        from torch.utils.data import DataLoader

        return DataLoader(dataset, **options)

    def epoch(self):
        return self.loader


def padded(arrays):
    import torch
    from torch.nn.utils.rnn import pad_sequence

    tensors = list(map(torch.as_tensor, arrays))
    return pad_sequence(tensors, batch_first=True), torch.tensor(list(map(len, tensors)))


def padded_samples(samples):
    return padded([sample["sample"] for sample in samples])
