"""FFCV: one `.beton` file, read by its loader. Its samples have one size here, as its fields of arrays have."""

import io

import numpy as np
from ffcv.fields import NDArrayField, RGBImageField
from ffcv.fields.decoders import NDArrayDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.writer import DatasetWriter

from features import documented, run

DOCS = "https://docs.ffcv.io"
README = "https://github.com/libffcv/ffcv#readme"

CELLS = {
    "index": run("a `Loader` with `indices=[i]`, compiled before it reads", limited=True),
    "shuffle": run("`OrderOption.RANDOM`"),
    "resume": documented("no", "`Loader` has no state to save", f"{DOCS}/api/loader.html"),
    "append": documented("no", "files are written once, by `from_indexed_dataset`", f"{DOCS}/writing_datasets.html"),
    "edit": documented("no", "files are written once", f"{DOCS}/writing_datasets.html"),
    "kill": run("readable once `from_indexed_dataset` has written its tables"),
    "processes": documented("no", "several processes write one file, but once", f"{DOCS}/writing_datasets.html"),
    "flip": run("nothing is checked"),
    "ragged": documented(
        "no", "`NDArrayField` has one shape; `BytesField` pads to the longest", f"{DOCS}/api/fields.html"
    ),
    "compression": documented("partly", "pictures as JPEG, by `RGBImageField`", f"{DOCS}/api/fields.html"),
    "pictures": run("`RGBImageField`, which encodes the pixels that it is given; with augmentations that are compiled"),
    "keys": documented("no", "positions only", f"{DOCS}/api/loader.html"),
    "remote": documented("no", "a local file", f"{DOCS}/api/loader.html"),
    "windows": documented("partly", "no wheel; its page says how to compile it with OpenCV and libturbojpeg", README),
}
BYTES = {"sample": [NDArrayDecoder()]}


class Bytes:
    """What the writer indexes."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, position):
        return (np.frombuffer(self.samples[position], np.uint8),)


class Acknowledging:
    """Samples that are made when they are asked for, each of which tells that those before are stored."""

    def __init__(self, samples, acknowledge):
        self.samples, self.acknowledge = samples, acknowledge

    def __len__(self):
        return 100_000

    def __getitem__(self, position):
        if position:
            self.acknowledge()
        return (np.frombuffer(next(self.samples), np.uint8),)


class System:
    @staticmethod
    def write(path, samples):
        field = NDArrayField(np.dtype(np.uint8), (256,))
        DatasetWriter(str(path), {"sample": field}, num_workers=1).from_indexed_dataset(Bytes(samples))

    @staticmethod
    def loaded(path, batch_size=50, pipelines=BYTES, **options):
        options = {"num_workers": 1, "os_cache": True, "drop_last": False} | options
        loader = Loader(str(path), batch_size=batch_size, pipelines=pipelines, **options)
        return [sample.copy() for (batch,) in loader for sample in np.asarray(batch)]

    @staticmethod
    def read(path):
        return [sample.tobytes() for sample in System.loaded(path)]

    @staticmethod
    def at(path, position):
        return System.loaded(path, 1, indices=[position])[0].tobytes()

    @staticmethod
    def write_shards(path, samples, _size):
        System.write(path, samples)

    @staticmethod
    def epoch(path, seed):
        return [sample.tobytes() for sample in System.loaded(path, order=OrderOption.RANDOM, seed=seed)]

    @staticmethod
    def store(path, samples, acknowledge):
        writer = DatasetWriter(str(path), {"sample": NDArrayField(np.dtype(np.uint8), (256,))}, num_workers=1)
        writer.from_indexed_dataset(Acknowledging(samples, acknowledge))

    @staticmethod
    def write_pictures(path, files):
        from PIL import Image  # noqa: PLC0415 - only here

        pictures = [(np.asarray(Image.open(io.BytesIO(file))),) for file in files]
        DatasetWriter(str(path), {"picture": RGBImageField("jpg")}, num_workers=1).from_indexed_dataset(pictures)

    @staticmethod
    def read_pictures(path):
        return System.loaded(path, 4, {"picture": [SimpleRGBImageDecoder()]})
