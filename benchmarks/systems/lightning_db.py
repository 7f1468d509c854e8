"""LMDB through py-lmdb."""

import lmdb

from systems import store

MAP_SIZE = 1 << 40


def key(index):
    return index.to_bytes(8, "big")


class Texts(store.EncodedTexts):
    LEFT_OUT = {"pickle"}

    def __init__(self, path):
        self.path = path
        self.environment = lmdb.open(str(path), readonly=True, lock=False, readahead=True)
        self.buffers = self.environment.begin(buffers=True)
        self.copies = self.environment.begin()

    def __len__(self):
        return self.environment.stat()["entries"]

    def iterate(self):
        total = 0
        for value in self.buffers.cursor().iternext(keys=False):
            total += len(str(value, "utf-8"))
        return total

    def index(self, indices):
        get, total = self.buffers.get, 0
        for index in indices:
            total += len(str(get(index.to_bytes(8, "big")), "utf-8"))
        return total

    def encoded(self, batches):
        cursor = self.copies.cursor()
        for batch in batches:
            yield [value for _, value in cursor.getmulti([key(index) for index in batch])]

    def append(self, sample):
        if self.environment.flags()["readonly"]:
            self.environment.close()
            self.environment = lmdb.open(str(self.path), map_size=MAP_SIZE, sync=False)
            self.count = len(self)
        with self.environment.begin(write=True) as transaction:
            transaction.put(key(self.count), sample.encode(), append=True)
        self.count += 1

    def reopened(self, path):  # noqa: ARG002 - it allows no second open in a process
        return self

    @staticmethod
    def build(samples, path):
        environment = lmdb.open(str(path), map_size=MAP_SIZE)
        with environment.begin(write=True) as transaction:
            pairs = ((key(index), text.encode()) for index, text in enumerate(samples))
            transaction.cursor().putmulti(pairs, append=True)
        environment.close()
