"""SPDL: batches made by a function in its threads, out of what other rows read by `DataLoader`."""

import numpy as np
from spdl.pipeline import PipelineBuilder

from systems.loaders import files, memmap

AHEAD = 2


class Pipelined:
    IMPORTS = ()
    WORKERS = (2,)  # threads

    def __init__(self, path, workers):
        self.samples, self.threads, self.chance = self.opened(path), workers, np.random.default_rng(0)

    def epoch(self):
        order = self.chance.permutation(len(self.samples))
        batches = [order[start : start + self.BATCH_SIZE] for start in range(0, len(order), self.BATCH_SIZE)]
        builder = PipelineBuilder().add_source(batches).pipe(self.batch, concurrency=self.threads).add_sink(AHEAD)
        pipeline = builder.build(num_threads=self.threads)
        with pipeline.auto_stop():
            yield from pipeline


class Images(Pipelined, memmap.Images):
    def batch(self, indices):
        return self.samples[indices]


class Labelled(Pipelined, files.Labelled):
    def batch(self, indices):
        records = [self.samples[index] for index in indices.tolist()]
        return {name: [record[name] for record in records] for name in self.PARTS}


class Photos(Pipelined, files.Photos):
    def batch(self, indices):
        return np.stack([self.samples[index] for index in indices.tolist()])
