"""This project."""

import mmap_ninja as mn
from features import documented, run

CELLS = {
    "index": run("`ds[i]`"),
    "shuffle": run("`Loader(ds, shuffle=True)`, whose order is computed, not stored"),
    "resume": run("`Loader.state_dict`"),
    "append": run("`append`, `extend`"),
    "edit": run("`ds[i] = x`, `del ds[i]`"),
    "kill": run("`append`, which is a commit"),
    "processes": run("each `append` is a commit, under a lock that readers do not take"),
    "flip": run("by `verify`; reading checks nothing"),
    "ragged": run("`RaggedMmap`"),
    "compression": run("zstd for strings and bytes; arrays are stored as they are", limited=True),
    "pictures": documented("no", "JPEG files are bytes, which a `transform` of yours decodes", "docs/when-not.md"),
    "keys": documented("no", "positions only; `index` and `filter` scan", "docs/when-not.md"),
    "remote": documented("no", "local and network filesystems only", "docs/when-not.md"),
    "windows": documented("no", "Linux and macOS", "docs/when-not.md"),
}


class System:
    @staticmethod
    def write(path, samples):
        mn.BytesMmap.from_generator(path, samples, batch_size=64, verbose=False)

    @staticmethod
    def read(path):
        return list(mn.open(path, "r"))

    @staticmethod
    def at(path, position):
        return mn.open(path, "r")[position]

    @staticmethod
    def write_shards(path, samples, _size):
        System.write(path, samples)

    @staticmethod
    def epoch(path, seed):
        return [sample for batch in mn.Loader(mn.open(path), 100, shuffle=True, seed=seed) for sample in batch]

    @staticmethod
    def stopped(path, count):
        loader = mn.Loader(mn.open(path), 10, shuffle=True)
        batches = iter(loader)
        for _ in range(count // 10):
            next(batches)
        return loader.state_dict(), [sample for batch in batches for sample in batch]

    @staticmethod
    def resumed(path, state):
        loader = mn.Loader(mn.open(path), 10, shuffle=True)
        loader.load_state_dict(state)
        return [sample for batch in loader for sample in batch]

    @staticmethod
    def append(path, samples):
        with mn.open(path) as dataset:
            dataset.extend(samples)

    @staticmethod
    def replace(path, position, sample):
        with mn.open(path) as dataset:
            dataset[position] = sample

    @staticmethod
    def delete(path, position):
        with mn.open(path) as dataset:
            del dataset[position]

    @staticmethod
    def store(path, samples, acknowledge):
        dataset = mn.BytesMmap(path)
        for sample in samples:
            dataset.append(sample)
            acknowledge()

    @staticmethod
    def verify(path):
        return mn.verify(path).ok

    @staticmethod
    def write_arrays(path, arrays):
        mn.RaggedMmap.from_generator(path, arrays, verbose=False)

    read_arrays = read

    @staticmethod
    def write_compressed(path, samples):
        mn.BytesMmap.from_generator(path, samples, verbose=False, zstd_level=3)

    read_compressed = read
