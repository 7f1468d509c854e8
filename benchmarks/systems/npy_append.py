"""npy-append-array: one .npy file that grows, and is read by `np.load(mmap_mode="r")`."""

import numpy as np
from npy_append_array import NpyAppendArray

from systems import memmap

BATCH_SIZE = 1024


class Fixed(memmap.Fixed):
    def append(self, sample):
        if not hasattr(self, "writer"):
            self.writer = NpyAppendArray(self.samples.filename)
        self.writer.append(sample[np.newaxis])
        self.writer.fp.flush()  # else a fresh open sees it later

    @staticmethod
    def build(samples, path, batch_size=BATCH_SIZE):
        path.mkdir(parents=True)
        with NpyAppendArray(path / "values.npy") as writer:
            for start in range(0, len(samples), batch_size):
                writer.append(samples[start : start + batch_size])

    @staticmethod
    def build_whole(samples, path):
        Fixed.build(samples, path, len(samples))
