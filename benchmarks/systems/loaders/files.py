"""A file for each sample, in a `DataLoader`."""

from data.photos import decoded
from data.texts import labels

from systems.loaders import feed
from systems.loaders.pytorch import Loaded

FOLDERS = ("neg", "pos")


class Files:
    """Files, each read when it is asked for."""

    def __init__(self, path):
        self.paths = sorted(file for file in path.rglob("*") if file.is_file())

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.read(self.paths[index])


class Texts(Files):
    """The label is the folder."""

    @staticmethod
    def read(path):
        return {"text": path.read_bytes().decode(), "label": FOLDERS.index(path.parent.name)}


class Pictures(Files):
    @staticmethod
    def read(path):
        return decoded(path.read_bytes())


class Labelled(Loaded, feed.Labelled):
    opened = Texts

    @staticmethod
    def build(samples, path):
        for name in FOLDERS:
            (path / name).mkdir(parents=True)
        for index, (text, label) in enumerate(zip(samples, labels(len(samples)).tolist(), strict=True)):
            (path / FOLDERS[label] / f"{index}.txt").write_bytes(text.encode())


class Photos(Loaded, feed.Photos):
    opened = Pictures

    @staticmethod
    def build(samples, path):
        path.mkdir()
        for index, data in enumerate(samples):
            (path / f"{index}.jpg").write_bytes(data)
