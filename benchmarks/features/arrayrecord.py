"""ArrayRecord, read by itself and through Grain."""

import grain
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from features import documented, run

RANDOM_ACCESS = "group_size:1"  # the performance guide
REPOSITORY = "https://github.com/google/array_record"

CELLS = {
    "index": run("`ArrayRecordDataSource(files)[i]`"),
    "shuffle": run("Grain's `shuffle`, whose order is computed, not stored"),
    "resume": run("Grain's `get_state` and `set_state`"),
    "append": run("only a further file, which readers must name, too", limited=True),
    "edit": documented("no", "files are written once", REPOSITORY),
    "kill": run("a file is readable once `close` has written its index"),
    "processes": run("each writes files of its own; readers name all of them", limited=True),
    "flip": run("each chunk has hashes, which reading compares"),
    "ragged": documented("no", "records are bytes", REPOSITORY),
    "compression": run("zstd, or Brotli or Snappy"),
    "pictures": documented("no", "records are bytes, which a `map` of yours decodes", REPOSITORY),
    "keys": documented("no", "positions only", REPOSITORY),
    "remote": documented("partly", "`gs://` paths are known to its compiled code; no other store is", REPOSITORY),
    "windows": documented(
        "no", "wheels of `array_record` for Linux and macOS only", "the package index, version 0.8.6"
    ),
}


def source(path):
    return ArrayRecordDataSource(sorted(map(str, path.parent.glob(f"{path.name}*"))))


class System:
    @staticmethod
    def write(path, samples, options=RANDOM_ACCESS):
        writer = ArrayRecordWriter(str(path), options)
        for sample in samples:
            writer.write(sample)
        writer.close()

    @staticmethod
    def read(path):
        records = source(path)
        return records.__getitems__(range(len(records)))

    @staticmethod
    def at(path, position):
        return source(path)[position]

    @staticmethod
    def write_shards(path, samples, size):
        for start in range(0, len(samples), size):
            System.write(path.with_name(f"{path.name}-{start:06d}"), samples[start : start + size])

    @staticmethod
    def shuffled(path, seed):
        return grain.MapDataset.source(source(path)).seed(seed).shuffle()

    @staticmethod
    def epoch(path, seed):
        return list(System.shuffled(path, seed).to_iter_dataset())

    @staticmethod
    def stopped(path, count):
        samples = iter(System.shuffled(path, 0).to_iter_dataset())
        for _ in range(count):
            next(samples)
        return samples.get_state(), list(samples)

    @staticmethod
    def resumed(path, state):
        samples = iter(System.shuffled(path, 0).to_iter_dataset())
        samples.set_state(state)
        return list(samples)

    @staticmethod
    def add_part(path, samples, name="more"):
        System.write(path.with_name(f"{path.name}-{name}"), samples)

    @staticmethod
    def store(path, samples, acknowledge):
        writer = ArrayRecordWriter(str(path), RANDOM_ACCESS)
        for sample in samples:
            writer.write(sample)
            acknowledge()

    @staticmethod
    def write_compressed(path, samples):
        System.write(path, samples, "group_size:1,zstd")

    read_compressed = read
