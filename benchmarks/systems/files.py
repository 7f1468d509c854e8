"""The folder of text files that a dataset replaces."""

from systems import store

FOLDER_SIZE = 1000


class Files:
    def __init__(self, path):
        self.paths = [str(file) for file in sorted(path.glob("*/*.txt"))]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with open(self.paths[index], encoding="utf-8", newline="") as file:  # noqa: PTH123 - the usual way
            return file.read()

    def __iter__(self):
        for path in self.paths:
            with open(path, encoding="utf-8", newline="") as file:  # noqa: PTH123
                yield file.read()


class Texts(store.Texts):
    OPEN = Files
    LEFT_OUT = {"pickle"}

    @staticmethod
    def build(samples, path):
        for index, text in enumerate(samples):
            folder = path / f"{index // FOLDER_SIZE:06d}"
            if index % FOLDER_SIZE == 0:
                folder.mkdir(parents=True)
            (folder / f"{index:09d}.txt").write_bytes(text.encode())
