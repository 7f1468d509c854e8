"""The ceiling: samples that already lie in RAM, in plain Python or NumPy."""

import pickle

from systems import store
from systems.loops import Loop


class Ram:
    """What all kinds have in common: the samples, loaded before the clock starts."""

    LEFT_OUT = {"build", "build_whole", "open", "pickle", "cold_iterate", "cold_batches"}

    def __init__(self, path):
        self.samples = pickle.loads((path / "samples").read_bytes())  # noqa: S301 - our own, a moment old

    @staticmethod
    def build(samples, path):
        path.mkdir(parents=True)
        (path / "samples").write_bytes(pickle.dumps(samples))


class Texts(Ram, store.EncodedTexts):
    def iterate(self):
        total = 0
        for sample in self.samples:
            total += len(sample.decode())
        return total

    def index(self, indices):
        samples, total = self.samples, 0
        for index in indices:
            total += len(samples[index].decode())
        return total

    def batches(self, batches):
        samples = self.samples
        for batch in batches:
            yield [samples[index].decode() for index in batch]

    def encoded(self, batches):
        samples = self.samples
        for batch in batches:
            yield [samples[index] for index in batch]

    @staticmethod
    def build(samples, path):
        Ram.build([sample.encode() for sample in samples], path)


class Ragged(Ram, store.OneByOne, store.Joined):
    pass


class Fixed(Ram, store.Indexed):
    def loader(self):
        return Loop(len(self), self.samples.__getitem__)
