"""Bagz, set for local random access: its thread pool costs more than it brings on a warm local file."""

import bagz
import numpy as np

from systems import store

CHUNK = 1000  # records per read in order


class Texts(store.EncodedTexts):
    BATCH_TYPE = np.ndarray
    PARALLELISM = 0

    def __init__(self, path):
        options = bagz.Reader.Options(
            compression=bagz.CompressionNone(),
            limits_storage=bagz.LimitsStorage.IN_MEMORY,
            max_parallelism=self.PARALLELISM,
        )
        self.samples = bagz.Reader(str(path / "texts.bagz"), options)

    def iterate(self):
        reader, total = self.samples, 0
        for start in range(0, len(reader), CHUNK):
            count = min(CHUNK, len(reader) - start)
            total += sum(map(len, [record.decode() for record in reader.read_range(start, count)]))
        return total

    def index(self, indices):
        reader, total = self.samples, 0
        for index in indices:
            total += len(reader[index].decode())
        return total

    def encoded(self, batches):
        return map(self.samples.read_indices, batches)

    @staticmethod
    def build(samples, path):
        path.mkdir(parents=True)
        options = bagz.Writer.Options(compression=bagz.CompressionNone())
        with bagz.Writer(str(path / "texts.bagz"), options) as writer:
            for text in samples:
                writer.write(text.encode())


class DefaultTexts(Texts):
    LIMITS = {"batches": 25_600, "jagged": 25_600}
    LEFT_OUT = {"build"}  # the same
    PARALLELISM = 100  # the default
