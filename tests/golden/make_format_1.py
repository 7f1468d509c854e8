"""Write the golden directories of format version 1 beside this file, once; see README.md."""

import shutil
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))
sys.path.insert(0, str(FOLDER.parent / "format"))

from test_golden import FORMAT_1, manifest  # noqa: E402


def main():
    for name, (cls, options, samples) in FORMAT_1.items():
        out = FOLDER / f"format-1-{name}"
        if out.exists():
            sys.exit(f"{out.name} exists; golden directories are not made again")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "ds")
            cls.from_generator(path, [samples[0], samples[0], *samples[1:-1]], **options).close()
            dataset = cls(path)
            dataset[1] = samples[0]
            del dataset[0]
            dataset.flush()
            dataset.append(samples[-1])
            # Before closing, so that only a digest covers the last commit.
            shutil.copytree(path, out)
            dataset.close()
    (FOLDER / "format-1.sha256").write_text("\n".join(manifest(FOLDER)) + "\n")


if __name__ == "__main__":
    main()
