"""The floor of a durable build: `pwrite` the payload and the offsets, then `fdatasync` both files."""

import os

import numpy as np

BATCH_SIZE = 1024


class Texts:
    LEFT_OUT = frozenset()

    @staticmethod
    def prepared(samples):
        """Encode the texts; this is not part of what is timed."""
        batches, offset = [], 0
        for start in range(0, len(samples), BATCH_SIZE):
            encoded = [text.encode() for text in samples[start : start + BATCH_SIZE]]
            ends = offset + np.cumsum([len(sample) for sample in encoded])
            offset = int(ends[-1])
            batches.append((b"".join(encoded), ends.astype("<u8").tobytes()))
        return batches

    @staticmethod
    def build(batches, path):
        path.mkdir(parents=True)
        payload = os.open(path / "payload", os.O_WRONLY | os.O_CREAT, 0o644)
        offsets = os.open(path / "offsets", os.O_WRONLY | os.O_CREAT, 0o644)
        position, row = 0, os.pwrite(offsets, bytes(8), 0)
        for data, ends in batches:
            position += os.pwrite(payload, data, position)
            row += os.pwrite(offsets, ends, row)
        for file in (payload, offsets):
            os.fdatasync(file)
            os.close(file)
