"""MDS, the format of mosaicml-streaming, on a local disk."""

import io
import shutil

import numpy as np
from systems.mosaic import MDSWriter, Stream, StreamingDataLoader, StreamingDataset

from features import documented, run

README = "https://github.com/mosaicml/streaming#readme"
HASH = "xxh64"

CELLS = {
    "index": run("`ds[i]`"),
    "shuffle": run('`shuffle_algo="naive"`; the default shuffles within blocks of at least 262,144 samples'),
    "resume": run("`StreamingDataLoader.state_dict`"),
    "append": run("only a further folder, which readers must name, too, or `merge_index`", limited=True),
    "edit": documented("no", "files are written once", README),
    "kill": run("readable once `finish` has written the index"),
    "processes": run("each writes a folder of its own; readers name all of them, or `merge_index`", limited=True),
    "flip": run(
        "`hashes` when written, and `validate_hash`, compared when a shard is fetched; not where it lies", limited=True
    ),
    "ragged": run("the `ndarray` encoding"),
    "compression": run('`compression="zstd"`; a decompressed copy is kept beside it to read'),
    "pictures": run("the `jpeg` encoding"),
    "keys": documented("no", "positions only", README),
    "remote": documented("yes", "S3, Google Cloud Storage, Azure and others; shards are cached", README),
    "windows": documented("yes", "a wheel without compiled code", "the package index, version 0.13.0"),
}


class System:
    @staticmethod
    def write(path, samples, encoding="bytes", **options):
        columns = {"sample": encoding}
        with MDSWriter(out=str(path), columns=columns, hashes=[HASH], size_limit=1 << 14, **options) as writer:
            for sample in samples:
                writer.write({"sample": sample})

    @staticmethod
    def dataset(path, **options):
        parts = sorted(part for part in path.parent.iterdir() if part.name.startswith(path.name))
        return StreamingDataset(streams=[Stream(local=str(part)) for part in parts], batch_size=10, **options)

    @staticmethod
    def read(path):
        dataset = System.dataset(path)
        return [dataset[position]["sample"] for position in range(len(dataset))]

    @staticmethod
    def at(path, position):
        return System.dataset(path)[position]["sample"]

    @staticmethod
    def write_shards(path, samples, size):
        with MDSWriter(out=str(path), columns={"sample": "bytes"}, size_limit=size * 270) as writer:
            for sample in samples:
                writer.write({"sample": sample})

    @staticmethod
    def epoch(path, seed):
        dataset = System.dataset(path, shuffle=True, shuffle_algo="naive", shuffle_seed=seed)
        return [row["sample"] for row in dataset]

    @staticmethod
    def loader(path):
        return StreamingDataLoader(System.dataset(path, shuffle=True, num_canonical_nodes=1), batch_size=10)

    @staticmethod
    def stopped(path, count):
        loader = System.loader(path)
        batches = iter(loader)
        for _ in range(count // 10):
            next(batches)
        state = loader.state_dict()
        return state, [sample for batch in batches for sample in batch["sample"]]

    @staticmethod
    def resumed(path, state):
        loader = System.loader(path)
        loader.load_state_dict(state)
        return [sample for batch in loader for sample in batch["sample"]]

    @staticmethod
    def add_part(path, samples, name="more"):
        System.write(f"{path}-{name}", samples)

    @staticmethod
    def store(path, samples, acknowledge):
        with MDSWriter(out=str(path), columns={"sample": "bytes"}, size_limit=1 << 12) as writer:
            for sample in samples:
                writer.write({"sample": sample})
                acknowledge()

    @staticmethod
    def verify(path):
        fetched = path.with_name("fetched")
        shutil.rmtree(fetched, ignore_errors=True)
        dataset = StreamingDataset(remote=str(path), local=str(fetched), batch_size=10, validate_hash=HASH)
        for position in range(len(dataset)):
            dataset[position]
        return True

    @staticmethod
    def write_arrays(path, arrays):
        System.write(path, arrays, "ndarray")

    read_arrays = read

    @staticmethod
    def write_compressed(path, samples):
        System.write(path, samples, compression="zstd")

    read_compressed = read

    @staticmethod
    def write_pictures(path, files):
        from PIL import Image  # noqa: PLC0415 - only here

        System.write(path, [Image.open(io.BytesIO(file)) for file in files], "jpeg")

    @staticmethod
    def read_pictures(path):
        return [np.asarray(picture) for picture in System.read(path)]
