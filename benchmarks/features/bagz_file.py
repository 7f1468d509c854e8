"""Bagz."""

import bagz

from features import documented, run

README = "https://github.com/google-deepmind/bagz#readme"
BESIDE = bagz.LimitsPlacement.SEPARATE

CELLS = {
    "index": run("`reader[i]`"),
    "shuffle": run("no shuffle of its own: `DataLoader(reader, shuffle=True)`"),
    "resume": documented("no", "no loader of its own; Grain's, for one, keeps its position in any list", README),
    "append": run("only a further file, which readers must name, too", limited=True),
    "edit": documented("no", "files are written once", README),
    "kill": run("`flush` after each record, and limits in a file of their own, as a killed writer leaves them"),
    "processes": run("each writes a file of its own; readers name all of them", limited=True),
    "flip": run("nothing is checked, not even by the zstd frames of the default"),
    "ragged": documented("no", "records are bytes", README),
    "compression": run("zstd, record by record, also with a dictionary"),
    "pictures": documented("no", "records are bytes", README),
    "keys": run("`bagz.Index` of a second file of keys, which it reads whole", limited=True),
    "remote": documented("partly", "Google Cloud Storage, by `bagz-gcs`", README),
    "windows": documented("no", "wheels for Linux and macOS only", "the package index, version 0.3.8"),
}


def reader(path):
    files = sorted(path.parent.glob(f"{path.name}*.bagz"), key=lambda file: file.stem)
    return bagz.Reader(",".join(map(str, files)))


class System:
    @staticmethod
    def write(path, samples):
        with bagz.Writer(f"{path}.bagz") as writer:
            for sample in samples:
                writer.write(sample)

    @staticmethod
    def read(path):
        return reader(path).read()

    @staticmethod
    def at(path, position):
        return reader(path)[position]

    @staticmethod
    def write_shards(path, samples, size):
        for start in range(0, len(samples), size):
            System.write(path.with_name(f"{path.name}-{start:06d}"), samples[start : start + size])

    @staticmethod
    def epoch(path, seed):
        import torch  # noqa: PLC0415 - only here
        from torch.utils.data import DataLoader  # noqa: PLC0415

        generator = torch.Generator().manual_seed(seed)
        return list(DataLoader(reader(path), batch_size=None, shuffle=True, generator=generator))

    @staticmethod
    def add_part(path, samples, name="more"):
        System.write(path.with_name(f"{path.name}-{name}"), samples)

    @staticmethod
    def store(path, samples, acknowledge):
        writer = bagz.Writer(f"{path}.bagz")
        for sample in samples:
            writer.write(sample)
            writer.flush()
            acknowledge()

    @staticmethod
    def read_leftover(path):
        return bagz.Reader(f"{path}.bagz", bagz.Reader.Options(limits_placement=BESIDE)).read()

    write_compressed, read_compressed = write, read

    @staticmethod
    def write_keyed(path, samples):
        System.write(path, samples.values())
        System.write(path.with_name("names"), map(str.encode, samples))

    @staticmethod
    def by_key(path, key):
        names = bagz.Index(bagz.Reader(str(path.with_name("names.bagz"))))
        return reader(path)[names[key]]
