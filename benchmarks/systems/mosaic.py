"""MDS, the format of mosaicml-streaming, read from local disk."""

from itertools import islice

from systems import store, vision  # noqa: F401 - before streaming, which imports torchvision for its image datasets

from streaming import MDSWriter, Stream, StreamingDataLoader, StreamingDataset  # noqa: F401 # isort: skip


class Texts(store.Texts):
    LIMITS = {"iterate": 2000, "index": 10_000, "batches": 10_240, "cold_batches": 2560}

    def __init__(self, path):
        self.samples = StreamingDataset(local=str(path), shuffle=False, batch_size=256)

    def in_order(self):
        return (row["text"] for row in islice(iter(self.samples), self.LIMITS["iterate"]))

    def index(self, indices):
        return sum(len(self.samples[index]["text"]) for index in indices)

    def batches(self, batches):
        return ([row["text"] for row in self.samples[batch]] for batch in batches)

    @staticmethod
    def build(samples, path):
        with MDSWriter(out=str(path), columns={"text": "str"}, size_limit=1 << 28) as writer:
            for text in samples:
                writer.write({"text": text})
