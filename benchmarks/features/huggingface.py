"""Hugging Face `datasets`, saved to disk."""

import datasets
import numpy as np

from features import documented, run

datasets.disable_progress_bars()
BYTES = datasets.Features(sample=datasets.Value("binary"))
ARRAYS = datasets.Features(sample=datasets.Array2D(shape=(None, 3), dtype="float32"))
PICTURES = datasets.Features(sample=datasets.Image())
DOCS = "https://huggingface.co/docs/datasets"

CELLS = {
    "index": run("`ds[i]`"),
    "shuffle": run("`ds.shuffle(seed)`, a list of positions, cached on disk"),
    "resume": run("`IterableDataset.state_dict`; what the shuffle buffer held is lost"),
    "append": run("only `concatenate_datasets` of two datasets; one on disk does not change", limited=True),
    "edit": documented("no", "`map` and `filter` write new files", f"{DOCS}/process"),
    "kill": run("`from_generator` and `save_to_disk`: readable once both are done"),
    "processes": run("each writes a dataset of its own; `concatenate_datasets` joins them", limited=True),
    "flip": run("`load_from_disk` checks nothing"),
    "ragged": run('`Array2D((None, 3), "float32")` with the NumPy format'),
    "compression": run("as Parquet, which is read as a stream, without positions; not by `save_to_disk`", limited=True),
    "pictures": run("the `Image` feature"),
    "keys": documented("no", "`filter` scans; there are indexes of texts and vectors in other services", DOCS),
    "remote": documented("yes", "`load_from_disk` and streaming, through fsspec", f"{DOCS}/filesystems"),
    "windows": documented("yes", "a wheel without compiled code", "the package index, version 5.2.0"),
}


def parts(path):
    return sorted(part for part in path.parent.iterdir() if part.name.startswith(path.name))


def made(samples, features=BYTES):
    return datasets.Dataset.from_dict({"sample": samples}, features)


class System:
    @staticmethod
    def write(path, samples):
        made(samples).save_to_disk(str(path))

    @staticmethod
    def read(path):
        whole = datasets.concatenate_datasets([datasets.load_from_disk(str(part)) for part in parts(path)])
        return list(whole["sample"])

    @staticmethod
    def at(path, position):
        return datasets.load_from_disk(str(path))[position]["sample"]

    @staticmethod
    def write_shards(path, samples, size):
        made(samples).save_to_disk(str(path), num_shards=len(samples) // size)

    @staticmethod
    def epoch(path, seed):
        return list(datasets.load_from_disk(str(path)).shuffle(seed=seed)["sample"])

    @staticmethod
    def stream(path):
        dataset = datasets.load_from_disk(str(path))
        return dataset.to_iterable_dataset(num_shards=4).shuffle(seed=0, buffer_size=50)

    @staticmethod
    def stopped(path, count):
        dataset = System.stream(path)
        rows = iter(dataset)
        for _ in range(count):
            next(rows)
        return dataset.state_dict(), [row["sample"] for row in rows]

    @staticmethod
    def resumed(path, state):
        dataset = System.stream(path)
        dataset.load_state_dict(state)
        return [row["sample"] for row in dataset]

    @staticmethod
    def add_part(path, samples, name="more"):
        made(samples).save_to_disk(f"{path}-{name}")

    @staticmethod
    def store(path, samples, acknowledge):
        def rows():
            for sample in samples:
                yield {"sample": sample}
                acknowledge()  # asked for the next one, so it has this one

        dataset = datasets.Dataset.from_generator(
            rows, BYTES, cache_dir=str(path.parent / "cache"), fingerprint="stored"
        )
        dataset.save_to_disk(str(path))

    @staticmethod
    def write_arrays(path, arrays):
        made(arrays, ARRAYS).save_to_disk(str(path))

    @staticmethod
    def read_arrays(path):
        dataset = datasets.load_from_disk(str(path)).with_format("numpy", dtype=np.float32)
        return [row["sample"] for row in dataset]

    @staticmethod
    def write_compressed(path, samples):
        made(samples).to_parquet(f"{path}.parquet")

    @staticmethod
    def read_compressed(path):
        stream = datasets.load_dataset("parquet", data_files=f"{path}.parquet", split="train", streaming=True)
        return [row["sample"] for row in stream]

    @staticmethod
    def write_pictures(path, files):
        made([{"bytes": file} for file in files], PICTURES).save_to_disk(str(path))

    @staticmethod
    def read_pictures(path):
        return [np.asarray(row["sample"]) for row in datasets.load_from_disk(str(path))]
