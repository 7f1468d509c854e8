"""LMDB through py-lmdb: samples under their number as a key."""

import lmdb

from features import documented, run

MAP_SIZE = 1 << 26
DOCS = "https://lmdb.readthedocs.io/en/release/"

CELLS = {
    "index": run("`transaction.get` of a number as the key"),
    "shuffle": run("no shuffle of its own: a `DataLoader` over a class of yours that gets by number"),
    "resume": documented("no", "no loader of its own", DOCS),
    "append": run("`put` in a transaction"),
    "edit": run("`put` and `delete`; the numbers after a deleted one stay, so that positions are yours to keep"),
    "kill": run("a transaction for each sample"),
    "processes": run("a transaction for each sample; writers wait for each other"),
    "flip": run("nothing is checked"),
    "ragged": documented("no", "values are bytes", DOCS),
    "compression": documented("no", "values are bytes", DOCS),
    "pictures": documented("no", "values are bytes", DOCS),
    "keys": run("`transaction.get`"),
    "remote": documented("no", "a local file that is mapped", DOCS),
    "windows": documented("yes", "a wheel", "the package index, version 3.0.0"),
}


def key(number):
    return number.to_bytes(8, "big")


def opened(path, **options):
    return lmdb.open(str(path), map_size=MAP_SIZE, **options)


class System:
    @staticmethod
    def write(path, samples):
        System.write_keyed(path, {key(number): sample for number, sample in enumerate(samples)})

    @staticmethod
    def read(path):
        with opened(path, readonly=True) as environment, environment.begin() as transaction:
            return [value for _, value in transaction.cursor()]

    @staticmethod
    def at(path, position):
        return System.by_key(path, key(position))

    @staticmethod
    def write_shards(path, samples, _size):
        System.write(path, samples)

    @staticmethod
    def epoch(path, seed):
        import torch  # noqa: PLC0415 - only here
        from torch.utils.data import DataLoader  # noqa: PLC0415

        with opened(path, readonly=True) as environment, environment.begin() as transaction:
            generator = torch.Generator().manual_seed(seed)
            return list(DataLoader(Numbered(transaction), batch_size=None, shuffle=True, generator=generator))

    @staticmethod
    def append(path, samples):
        with opened(path) as environment:
            for sample in samples:
                with environment.begin(write=True) as transaction:
                    cursor = transaction.cursor()
                    count = int.from_bytes(cursor.key(), "big") + 1 if cursor.last() else 0
                    transaction.put(key(count), sample)

    @staticmethod
    def replace(path, position, sample):
        with opened(path) as environment, environment.begin(write=True) as transaction:
            transaction.put(key(position), sample)

    @staticmethod
    def delete(path, position):
        with opened(path) as environment, environment.begin(write=True) as transaction:
            transaction.delete(key(position))

    @staticmethod
    def store(path, samples, acknowledge):
        with opened(path) as environment:
            for number, sample in enumerate(samples):
                with environment.begin(write=True) as transaction:
                    transaction.put(key(number), sample)
                acknowledge()

    @staticmethod
    def write_keyed(path, samples):
        with opened(path) as environment, environment.begin(write=True) as transaction:
            for name, sample in samples.items():
                transaction.put(name if isinstance(name, bytes) else name.encode(), sample)

    @staticmethod
    def by_key(path, name):
        with opened(path, readonly=True) as environment, environment.begin() as transaction:
            return transaction.get(name if isinstance(name, bytes) else name.encode())


class Numbered:
    """What PyTorch's `DataLoader` needs."""

    def __init__(self, transaction):
        self.transaction = transaction

    def __len__(self):
        return self.transaction.stat()["entries"]

    def __getitem__(self, number):
        return self.transaction.get(key(number))
