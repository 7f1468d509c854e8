"""Lance (PyPI: pylance)."""

import lance
import pyarrow as pa

from features import documented, run

DOCS = "https://lancedb.github.io/lance"
SCHEMA = pa.schema([("id", pa.int64()), ("sample", pa.binary())])
ZSTD = {"lance-encoding:compression": "zstd"}

CELLS = {
    "index": run("`take([i])`"),
    "shuffle": run("`SafeLanceDataset` in PyTorch's `DataLoader(shuffle=True)`"),
    "resume": documented(
        "no", "its samplers and datasets for PyTorch keep no position", f"{DOCS}/integrations/pytorch"
    ),
    "append": run('`write_dataset(mode="append")`'),
    "edit": run("`update` and `delete`, by conditions in SQL; an updated sample comes last then"),
    "kill": run("`write_dataset` for each sample, which makes a version"),
    "processes": run("`write_dataset` for each sample, which tries again after a conflict"),
    "flip": run("reading and `validate` check no samples"),
    "ragged": run("as lists of lists of Arrow"),
    "compression": run("`lance-encoding:compression` of a column"),
    "pictures": documented("no", "pictures are bytes", f"{DOCS}/quickstart"),
    "keys": run("a scalar index of a column"),
    "remote": documented("yes", "S3, Google Cloud Storage, Azure", f"{DOCS}/guide/object_store"),
    "windows": documented("yes", "a wheel", "the package index, version 14.0.2"),
}


def table(samples, first=0):
    return pa.table({"id": range(first, first + len(samples)), "sample": samples}, schema=SCHEMA)


class System:
    @staticmethod
    def write(path, samples):
        lance.write_dataset(table(samples), str(path))

    @staticmethod
    def read(path):
        return lance.dataset(str(path)).to_table(columns=["sample"])["sample"].to_pylist()

    @staticmethod
    def at(path, position):
        return lance.dataset(str(path)).take([position])["sample"][0].as_py()

    @staticmethod
    def write_shards(path, samples, size):
        lance.write_dataset(table(samples), str(path), max_rows_per_file=size)

    @staticmethod
    def epoch(path, seed):
        import torch  # noqa: PLC0415 - only here
        from lance.torch.data import SafeLanceDataset  # noqa: PLC0415
        from torch.utils.data import DataLoader  # noqa: PLC0415

        generator = torch.Generator().manual_seed(seed)
        loader = DataLoader(
            SafeLanceDataset(str(path)), batch_size=256, shuffle=True, generator=generator, collate_fn=list
        )
        return [row["sample"] for batch in loader for row in batch]

    @staticmethod
    def append(path, samples):
        lance.write_dataset(table(samples), str(path), mode="append")

    @staticmethod
    def replace(path, position, sample):
        lance.dataset(str(path)).update({"sample": f"X'{sample.hex()}'"}, where=f"id = {position}")

    @staticmethod
    def delete(path, position):
        lance.dataset(str(path)).delete(f"id = {position}")

    @staticmethod
    def store(path, samples, acknowledge):
        for sample in samples:
            lance.write_dataset(table([sample]), str(path), mode="append")
            acknowledge()

    @staticmethod
    def verify(path):
        lance.dataset(str(path)).validate()
        return True

    @staticmethod
    def write_arrays(path, arrays):
        rows = pa.array([array.tolist() for array in arrays], pa.list_(pa.list_(pa.float32(), 3)))
        lance.write_dataset(pa.table({"sample": rows}), str(path))

    @staticmethod
    def read_arrays(path):
        return System.read(path)

    @staticmethod
    def write_compressed(path, samples):
        schema = pa.schema([pa.field("sample", pa.binary(), metadata=ZSTD)])
        lance.write_dataset(pa.table({"sample": samples}, schema=schema), str(path))

    read_compressed = read

    @staticmethod
    def write_keyed(path, samples):
        lance.write_dataset(pa.table({"key": list(samples), "sample": list(samples.values())}), str(path))
        lance.dataset(str(path)).create_scalar_index("key", "BTREE")

    @staticmethod
    def by_key(path, key):
        found = lance.dataset(str(path)).scanner(filter=f"key = '{key}'")
        if "ScalarIndexQuery" not in found.explain_plan():
            raise RuntimeError("the lookup does not use the index")
        return found.to_table()["sample"][0].as_py()
