"""An example that trains, over text files and over a dataset of ours."""

import re
import shutil
import subprocess
import sys

import timing
from task import ROOT, Result, Task

EXAMPLE = ROOT / "examples" / "train_text_classifier.py"
SECOND_EPOCH = re.compile(
    r"^(\w+) over .* epoch 1 in ([\d.]+) s, .* waited ([\d.]+) s .* accuracy ([\d.]+)", re.MULTILINE
)


def example(task: Task) -> Result:
    """Train a classifier of texts, and return how long it waited for batches in the second epoch."""
    texts, folder = task.samples(), task.new_path("files")
    for name in ("pos", "neg"):
        (folder / name).mkdir(parents=True)
    for index, text in enumerate(texts):
        name = "pos" if index < len(texts) // 2 else "neg"  # as reviews are laid out
        (folder / name / f"{index}.txt").write_bytes(text.encode())
    done = subprocess.run([sys.executable, EXAMPLE, folder], capture_output=True, text=True, check=True)
    shutil.rmtree(folder)
    result: Result = {}
    for name, took, waited, accuracy in SECOND_EPOCH.findall(done.stdout):
        result |= {f"{name}_waited": float(waited), f"{name}_share": float(waited) / float(took)}
        result[f"{name}_accuracy"] = float(accuracy)
    timing.check(result["Loader_accuracy"], result["DataLoader_accuracy"])
    return result


MEASURES = {"example": example}
