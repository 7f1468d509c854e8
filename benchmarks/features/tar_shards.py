"""WebDataset: tar files."""

import webdataset

from features import documented, run

DOCS = "https://github.com/webdataset/webdataset#readme"

CELLS = {
    "index": documented("no", "tar files are read in order", DOCS),
    "shuffle": run("the order of tar files, and samples within a buffer, here of 1,000"),
    "resume": documented("no", "a pipeline has no state to save", DOCS),
    "append": run("only a further tar file, which readers must name, too", limited=True),
    "edit": documented("no", "tar files are written once", DOCS),
    "kill": run("`ShardWriter.write`, 10 samples to a file: complete files are readable"),
    "processes": run("each writes tar files of its own; readers name all of them", limited=True),
    "flip": run("tar has checksums of headers only"),
    "ragged": run("`.npy` and `decode`"),
    "compression": run("`compress=True`: gzip over a whole tar file"),
    "pictures": run('`decode("pilrgb")`'),
    "keys": documented("no", "tar files are read in order", DOCS),
    "remote": documented("yes", "URLs, and the output of any command", DOCS),
    "windows": documented("yes", "a wheel without compiled code", "the package index, version 1.0.2"),
}


def read_in(path, *decoders):
    files = sorted(str(file) for file in path.parent.iterdir() if ".tar" in file.name)
    pipeline = webdataset.WebDataset(files, shardshuffle=False, empty_check=False)
    return pipeline.decode(*decoders) if decoders else pipeline


class System:
    @staticmethod
    def write(path, samples, extension="bin", per_file=50, ending="tar", **options):
        pattern = f"{path}-%06d.{ending}"
        with webdataset.ShardWriter(pattern, maxcount=per_file, verbose=0, **options) as writer:
            for number, sample in enumerate(samples):
                writer.write({"__key__": f"{number:06d}", extension: sample})

    @staticmethod
    def read(path):
        return [sample["bin"] for sample in read_in(path)]

    @staticmethod
    def write_shards(path, samples, size):
        System.write(path, samples, per_file=size)

    @staticmethod
    def epoch(path, seed):
        files = sorted(map(str, path.parent.glob("*.tar")))
        pipeline = webdataset.WebDataset(files, shardshuffle=len(files), seed=seed, detshuffle=True)
        return [sample["bin"] for sample in pipeline.shuffle(1000)]

    @staticmethod
    def add_part(path, samples, name="more"):
        System.write(path.with_name(f"{path.name}-{name}"), samples)

    @staticmethod
    def store(path, samples, acknowledge):
        with webdataset.ShardWriter(f"{path}-%06d.tar", maxcount=10, verbose=0) as writer:
            for number, sample in enumerate(samples):
                writer.write({"__key__": f"{number:06d}", "bin": sample})
                acknowledge()

    @staticmethod
    def read_leftover(path):
        read = []
        try:
            for sample in read_in(path):
                read.append(sample["bin"])  # noqa: PERF401 - what came before an error counts
        except Exception as error:  # noqa: BLE001 - of a file that was not finished
            print(error)
        return read

    @staticmethod
    def write_arrays(path, arrays):
        System.write(path, arrays, "npy")

    @staticmethod
    def read_arrays(path):
        return [sample["npy"] for sample in read_in(path, "pil")]

    @staticmethod
    def write_compressed(path, samples):
        System.write(path, samples, ending="tar.gz", compress=True)

    read_compressed = read

    @staticmethod
    def write_pictures(path, files):
        System.write(path, files, "jpg", encoder=False)

    @staticmethod
    def read_pictures(path):
        return [sample["jpg"] for sample in read_in(path, "pilrgb")]
