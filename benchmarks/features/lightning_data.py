"""LitData, on a local disk."""

import litdata

from features import documented, run

README = "https://github.com/Lightning-AI/litData#readme"
OPTIONS = {"num_workers": 1, "verbose": False, "keep_data_ordered": True, "start_method": "fork"}

CELLS = {
    "index": run("`ds[i]`"),
    "shuffle": run("it shuffles chunks, and samples within a chunk"),
    "resume": run("`StreamingDataLoader.state_dict`"),
    "append": run('`optimize(mode="append")`'),
    "edit": run("`dataset_update` replaces a sample by its key, and writes its chunk anew; no deletion", limited=True),
    "kill": run("readable once `optimize` is done, which can go on with `use_checkpoint=True`"),
    "processes": run('two `optimize(mode="append")` at once'),
    "flip": run("nothing is checked"),
    "ragged": run("NumPy arrays are samples"),
    "compression": run('`compression="zstd"`'),
    "pictures": documented("yes", "a JPEG image of Pillow is stored as its file, and decoded by torchvision", README),
    "keys": run("`key_fn` of `optimize`, then `ds[key]`"),
    "remote": documented("yes", "S3, Google Cloud Storage, Azure; samples are cached", README),
    "windows": documented("yes", "a wheel without compiled code", "the package index, version 0.2.76"),
}


def same(item):
    return item


class System:
    @staticmethod
    def write(path, samples, fn=same, chunk_size=50, **options):
        options = OPTIONS | {"inputs": list(range(len(samples))), "chunk_size": chunk_size} | options
        litdata.optimize(fn=lambda number: fn(samples[number]), output_dir=str(path), **options)  # forked, so no pickle

    @staticmethod
    def dataset(path, **options):
        return litdata.StreamingDataset(str(path), **options)

    @staticmethod
    def read_arrays(path):
        return list(System.dataset(path, shuffle=False))

    @staticmethod
    def read(path):
        return list(map(bytes, System.read_arrays(path)))  # they are views of a map

    @staticmethod
    def at(path, position):
        return bytes(System.dataset(path)[position])

    @staticmethod
    def write_shards(path, samples, size):
        System.write(path, samples, chunk_size=size)

    @staticmethod
    def epoch(path, seed):
        return list(map(bytes, System.dataset(path, shuffle=True, seed=seed)))

    @staticmethod
    def loader(path):
        dataset = System.dataset(path, shuffle=True, seed=0)
        return litdata.StreamingDataLoader(dataset, batch_size=10, collate_fn=list)

    @staticmethod
    def stopped(path, count):
        loader = System.loader(path)
        batches = iter(loader)
        for _ in range(count // 10):
            next(batches)
        state = loader.state_dict()
        return state, [bytes(sample) for batch in batches for sample in batch]

    @staticmethod
    def resumed(path, state):
        loader = System.loader(path)
        loader.load_state_dict(state)
        return [bytes(sample) for batch in loader for sample in batch]

    @staticmethod
    def append(path, samples):
        System.write(path, samples, mode="append")

    @staticmethod
    def write_editable(path, samples):
        System.write(path, samples, key_fn=number_of)

    @staticmethod
    def replace(path, position, sample):
        with litdata.dataset_update(str(path)) as update:
            update[position] = sample
            update.commit()

    @staticmethod
    def store(path, samples, acknowledge):
        def rows(_input):
            for sample in samples:
                yield sample
                acknowledge()  # asked for the next one, so it has this one

        litdata.optimize(fn=rows, inputs=[0], output_dir=str(path), chunk_size=10, **OPTIONS)

    @staticmethod
    def write_arrays(path, arrays):
        System.write(path, arrays)

    @staticmethod
    def write_compressed(path, samples):
        System.write(path, samples, compression="zstd")

    read_compressed = read

    @staticmethod
    def write_keyed(path, samples):
        System.write(path, [{"key": key, "sample": sample} for key, sample in samples.items()], key_fn=key_of)

    @staticmethod
    def by_key(path, key):
        return bytes(System.dataset(path)[key]["sample"])


def number_of(sample):
    return int.from_bytes(bytes(sample[:8]), "little")


def key_of(sample):
    return sample["key"]
